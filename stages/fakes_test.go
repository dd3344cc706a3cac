package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// at is the one clock of these tests.
var at = time.Date(2026, time.March, 4, 5, 6, 7, 89_000_000, time.UTC)

type fakeEntities func(id, draftID string) (opencti.Entity, error)

func (f fakeEntities) State(_ context.Context, q opencti.StateQuery) (opencti.State, error) {
	entity, err := f(q.EntityID, q.DraftID)
	return opencti.State{Entity: entity}, err
}

type fakeRisks func(q ipqs.Query) (*ipqs.Report, error)

func (f fakeRisks) Lookup(_ context.Context, q ipqs.Query) (*ipqs.Report, error) { return f(q) }

// platform records what it is told, in order, and fails where it is set to.
type platform struct {
	calls []string
	fail  map[string]error // by the first word of a call
	state opencti.WorkState
	again bool
	// found is what it has of any entity.
	found opencti.State
	// countries are those that it has, by code.
	countries map[string]opencti.Country
	// entity is the one that objects were announced for, ended the state that came with the end.
	entity string
	ended  opencti.WorkState
	// playbook is called with each answer to one.
	playbook func(ctx context.Context, startedAt time.Time)
}

func (p *platform) call(name, text string) error {
	p.calls = append(p.calls, name+" "+text)
	return p.fail[name]
}

func (p *platform) Received(_ context.Context, job opencti.WorkJob, _ string) error {
	return p.call("received", job.WorkID)
}

func (p *platform) Announce(_ context.Context, job opencti.WorkJob, objects int) (opencti.WorkState, error) {
	p.again, p.entity = job.Again, job.EntityID
	return p.state, p.call("announce", job.WorkID+" "+count(objects, "object"))
}

func (p *platform) Processed(_ context.Context, job opencti.WorkJob, message string, state opencti.WorkState) error {
	p.ended = state
	return p.call("processed", job.WorkID+" "+message)
}

func (p *platform) Nothing(_ context.Context, job opencti.WorkJob, message string) error {
	return p.call("nothing", job.WorkID+" "+message)
}

func (p *platform) Failed(_ context.Context, job opencti.WorkJob, message string) error {
	return p.call("failed", job.WorkID+" "+message)
}

func (p *platform) EnsureLabel(_ context.Context, value, color string) error {
	return p.call("label", value+" "+color)
}

func (p *platform) RemoveLabel(_ context.Context, id, labelID, draftID string) error {
	return p.call("unlabel", id+" "+labelID+" "+draftID)
}

func (p *platform) PatchIndicator(_ context.Context, id string, patch opencti.IndicatorPatch, draftID string) error {
	return p.call("patch", fmt.Sprintf("%s %+v %s", id, patch, draftID))
}

func (p *platform) State(_ context.Context, q opencti.StateQuery) (opencti.State, error) {
	return p.found, p.call("state", q.EntityID+" "+q.DraftID)
}

func (p *platform) Country(_ context.Context, code, _ string) (opencti.Country, bool, error) {
	country, ok := p.countries[code]
	return country, ok, p.call("country", code)
}

// publishing is a stage that publishes to the platform at the tests' time.
func (p *platform) publishing(envelope Envelope) Stage {
	return Publish(Publishing{
		Entities: p, Works: p, Playbooks: p, Labels: p, Indicators: p, Countries: p, Intake: p, Envelope: envelope,
		Enrichment: usual, Now: clock,
	})
}

// clock stands still.
func clock() time.Time { return at }

func (p *platform) Push(_ context.Context, messages [][]byte) error {
	for _, m := range messages {
		if err := p.call("push", string(m)); err != nil {
			return err
		}
	}
	return nil
}

func (p *platform) AnswerPlaybook(ctx context.Context, playbook opencti.Playbook, startedAt time.Time, bundle []byte) error {
	if p.playbook != nil {
		p.playbook(ctx, startedAt)
	}
	return p.call("playbook", playbook.StepID+" "+string(bundle))
}

var (
	_ Entities  = fakeEntities(nil)
	_ Receiver  = (*platform)(nil)
	_ Announcer = (*platform)(nil)
	_ Failer    = (*platform)(nil)
	_ Labels    = (*platform)(nil)
	_ Entities  = (*platform)(nil)
	_ Intake    = (*platform)(nil)
	_ Playbooks = (*platform)(nil)
)

// report decodes an answer of IPQS as the client would have.
func report(kind ipqs.Kind, fields string) *ipqs.Report {
	r := &ipqs.Report{Kind: kind}
	var into any
	switch kind {
	case ipqs.KindIP:
		r.IP = &ipqs.IP{}
		into = r.IP
	case ipqs.KindEmail:
		r.Email = &ipqs.Email{}
		into = r.Email
	case ipqs.KindPhone:
		r.Phone = &ipqs.Phone{}
		into = r.Phone
	case ipqs.KindURL:
		r.URL = &ipqs.URL{}
		into = r.URL
	case ipqs.KindLeakEmail, ipqs.KindLeakUsername, ipqs.KindLeakPassword:
		r.Leak = &ipqs.Leak{}
		into = r.Leak
	case ipqs.KindFileLookup, ipqs.KindFileScan, ipqs.KindFileResult:
		r.File = &ipqs.File{}
		into = r.File
	}
	if err := json.Unmarshal([]byte(fields), into); err != nil {
		panic(err)
	}
	var people struct {
		Personal *ipqs.Personal `json:"personal"`
	}
	if err := json.Unmarshal([]byte(fields), &people); err != nil {
		panic(err)
	}
	r.Personal = people.Personal
	return r
}

func ipv4() opencti.Entity {
	return opencti.Entity{
		ID: "6f0c2a1e-5a0b-4c5d-9e8f-001122334455", StandardID: "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db",
		Type: "IPv4-Addr", Value: "198.51.100.7", CreatedAt: "2026-01-02T03:04:05.678Z",
	}
}
