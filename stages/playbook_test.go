package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

const (
	extension           = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba"
	observableExtension = "extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82"
	organization        = "identity--22222222-2222-4222-8222-222222222222"
)

// asked is a playbook's request about an object, in a bundle with what other steps have put there.
func asked(id string, objects ...string) *opencti.Request {
	bundle := `{"id":"bundle--0f7b0000-0000-4000-8000-000000000000","spec_version":"2.1","type":"bundle","objects":[` + strings.Join(objects, ",") + `]}`
	return &opencti.Request{
		EntityID: id,
		Playbook: &opencti.Playbook{ExecutionID: "execution", StepID: "step", DataInstanceID: id, Bundle: json.RawMessage(bundle)},
	}
}

// converted is an observable as the platform writes it: inside is what more its extension says, more is the rest.
func converted(e opencti.Entity, inside, more string) string {
	kind, _ := stix.TypeByName(e.Type)
	return fmt.Sprintf(`{"id":%q,"spec_version":"2.1","type":%q,"value":%q,"extensions":{%q:{"extension_type":"property-extension","id":"3f2c0c7e","type":%q%s}%s`,
		e.StandardID, kind.STIX, e.Value, extension, e.Type, inside, more)
}

func TestBundleOfAPlaybookGolden(t *testing.T) {
	t.Parallel()
	const (
		report1 = `{"id":"report--1","type":"report","spec_version":"2.1","name":"<Weekly>","object_refs":["ipv4-addr--1"],"x":1.50}`
		sco     = `,"` + observableExtension + `":{"extension_type":"property-extension"`
	)
	address, domain, phone := entity("IPv4-Addr", "198.51.100.7"), entity("Domain-Name", "example.com"), entity("Phone-Number", "+18005550100")
	resolved := entity("IPv4-Addr", "203.0.113.9")
	both := Enrichment{IPRelationships: true, DomainRelationships: true, Confidence: new(60)}
	tests := []struct {
		name    string
		entity  opencti.Entity
		objects []string
		report  *ipqs.Report
	}{
		{
			"playbook_ipv4", address,
			[]string{report1, converted(address, "", sco+`,"labels":["scanner"],"score":50,"created_by_ref":"identity--1"}}}`)},
			report(ipqs.KindIP, `{"fraud_score":87,"proxy":true,"ASN":64500,"ISP":"Example Telecom"}`),
		},
		{
			"playbook_marked_and_shared", address,
			[]string{converted(address, `,"granted_refs":["`+organization+`"]`,
				sco+`}},"object_marking_refs":["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"]}`)},
			report(ipqs.KindIP, `{"fraud_score":10,"ASN":64500}`),
		},
		{
			"playbook_phone", phone,
			[]string{converted(phone, "", `,"`+observableExtension+`":{"extension_type":"new-sco"}},"labels":["seen"],"score":20}`)},
			report(ipqs.KindPhone, `{"fraud_score":75,"valid":true}`),
		},
		{
			"playbook_domain_whose_address_is_there", domain,
			[]string{
				converted(domain, "", sco+`}}}`), converted(resolved, "", sco+`,"score":1}}}`),
				`{"id":"` + stix.IdentityID("IPQS", "organization") + `","type":"identity","name":"IPQS","identity_class":"organization"}`,
			},
			report(ipqs.KindURL, `{"risk_score":78,"ip_address":"203.0.113.9"}`),
		},
		{
			"playbook_score_unknown", address,
			[]string{converted(address, "", sco+`,"score":50}}}`)},
			report(ipqs.KindIP, `{"proxy":true}`),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			request := asked(tt.entity.StandardID, tt.objects...)
			bundle := func() []byte {
				resolve := Resolve(fakeEntities(func(string, string) (opencti.Entity, error) { return tt.entity, nil }), &platform{},
					Policy{Scope: []string{tt.entity.Type}, MaxTLP: opencti.TLPAmber}, clock)
				lookup := Lookup(fakeRisks(func(ipqs.Query) (*ipqs.Report, error) { return tt.report, nil }), func() time.Time { return at }, Sources{})
				job := Job{ID: "execution/step/1", Request: request}
				for _, stage := range []Stage{resolve, lookup, Score(Scoring{FlagLabels: true}), Bundle(both)} {
					var err error
					if job, err = stage.Run(context.Background(), job); err != nil {
						t.Fatalf("%s error = %v", stage.Name, err)
					}
				}
				return job.Bundle
			}
			got := bundle()
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, got, "", "  "); err != nil {
				t.Fatalf("the bundle is no JSON: %v", err)
			}
			pretty.WriteByte('\n')
			golden(t, tt.name, pretty.Bytes())
			if again := bundle(); !bytes.Equal(got, again) {
				t.Errorf("the same job made other bytes")
			}
			var out struct{ Objects []json.RawMessage }
			if err := json.Unmarshal(got, &out); err != nil {
				t.Fatal(err)
			}
			known := map[string]bool{}
			for i, object := range out.Objects {
				var o struct{ ID string }
				if err := json.Unmarshal(object, &o); err != nil {
					t.Fatal(err)
				}
				if known[o.ID] {
					t.Errorf("%s is there twice", o.ID)
				}
				known[o.ID] = true
				if i < len(tt.objects) && o.ID != tt.entity.StandardID && string(object) != tt.objects[i] {
					t.Errorf("object %d = %s, want it as it came: %s", i, object, tt.objects[i])
				}
				if i >= len(tt.objects) && bytes.Contains(object, []byte("x_opencti_")) {
					t.Errorf("object %d has a property that playbooks do not read: %s", i, object)
				}
			}
		})
	}
}

func TestResolveForAPlaybook(t *testing.T) {
	t.Parallel()
	const red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
	e := ipv4()
	e.Markings = []opencti.Marking{{ID: "marking-definition--1", Type: "PAP", Definition: "PAP:AMBER"}}
	e.Organizations = []string{"identity--elsewhere"}
	object := func(more string) string { return `{"id":"ipv4-addr--given","type":"ipv4-addr"` + more + `}` }
	tests := []struct {
		name    string
		request *opencti.Request
		err     error
		asks    bool // whether OpenCTI is asked
		want    *Fault
		// Of the entity, where it is resolved:
		markings, organizations []string
	}{
		{
			name: "as it is", request: asked("ipv4-addr--given", `{"id":"report--1"}`, object("")), asks: true,
			markings: []string{"marking-definition--1"},
		},
		{
			name: "shared by the bundle", asks: true,
			request:  asked("ipv4-addr--given", object(`,"extensions":{"`+extension+`":{"granted_refs":["`+organization+`"]}}`)),
			markings: []string{"marking-definition--1"}, organizations: []string{organization},
		},
		{
			name: "marked by the bundle too", asks: true,
			request:  asked("ipv4-addr--given", object(`,"object_marking_refs":["marking-definition--1","marking-definition--2"]`)),
			markings: []string{"marking-definition--1", "marking-definition--2"},
		},
		{
			name: "marked above the ceiling by a step before", asks: true,
			request: asked("ipv4-addr--given", object(`,"object_marking_refs":["`+red+`"]`)), want: &Fault{Class: Skip, Reason: ReasonTLP},
		},
		{
			name:    "about something that is no observable",
			request: asked("report--1", `{"id":"report--1","type":"report"}`), want: &Fault{Class: Skip, Reason: ReasonScope},
		},
		{
			name:    "about an observable out of scope",
			request: asked("url--1", `{"id":"url--1","type":"url"}`), want: &Fault{Class: Skip, Reason: ReasonScope},
		},
		{
			name:    "about something that is not in its bundle",
			request: asked("ipv4-addr--given", `{"id":"ipv4-addr--other","type":"ipv4-addr"}`), want: &Fault{Class: Permanent, Reason: ReasonMalformed},
		},
		{
			name: "about something that OpenCTI does not show", asks: true, err: opencti.ErrNotFound,
			request: asked("ipv4-addr--given", object("")), want: &Fault{Class: Skip, Reason: ReasonNotFound},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			told, asks := &platform{}, false
			stage := Resolve(fakeEntities(func(string, string) (opencti.Entity, error) {
				asks = true
				return e, tt.err
			}), told, Policy{Scope: []string{"ipv4-addr"}, MaxTLP: opencti.TLPAmber}, clock)
			job, err := stage.Run(context.Background(), Job{ID: "j", Request: tt.request})
			if asks != tt.asks || len(told.calls) > 0 {
				t.Errorf("asked for the entity: %v, told of a work: %q, want %v and nothing", asks, told.calls, tt.asks)
			}
			if tt.want != nil {
				if f := AsFault(err); f == nil || f.Class != tt.want.Class || f.Reason != tt.want.Reason {
					t.Errorf("Run() error = %+v, want class %s, reason %s", f, tt.want.Class, tt.want.Reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("Run() error = %v", err)
			}
			var markings []string
			for _, m := range job.Entity.Markings {
				markings = append(markings, m.ID)
			}
			if job.Entity.StandardID != "ipv4-addr--given" {
				t.Errorf("id = %s, want the one that it has in the bundle", job.Entity.StandardID)
			}
			if diff := cmp.Diff(tt.markings, markings); diff != "" {
				t.Errorf("markings (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.organizations, job.Entity.Organizations); diff != "" {
				t.Errorf("organisations (-want +got):\n%s", diff)
			}
			if len(e.Markings) != 1 {
				t.Errorf("the entity that OpenCTI gave was changed: %v", e.Markings)
			}
		})
	}
}

func playbookJob() Job {
	job := publishJob()
	job.Request, job.OpenedAt = asked("url--1"), at
	return job
}

func TestPublishAnswersAPlaybookOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	p := &platform{playbook: func(sending context.Context, startedAt time.Time) {
		cancel() // a hop that ends, or a time that is over
		if _, bounded := sending.Deadline(); sending.Err() != nil || !bounded {
			t.Errorf("context of the answer: %v, bounded %v, want it to go on for a time of its own", sending.Err(), bounded)
		}
		if !startedAt.Equal(at) {
			t.Errorf("started at %v, want when the job was taken up, %v", startedAt, at)
		}
	}}
	job, err := p.publishing(shown).Run(ctx, playbookJob())
	if err != nil || !job.Answered {
		t.Errorf("Run() = answered %v, %v, want an answered job", job.Answered, err)
	}
	if diff := cmp.Diff([]string{"label L #010203", "playbook step " + twoObjects}, p.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestPublishToAPlaybookThatFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		err      error
		class    Class
		reason   Reason
		answered bool
	}{
		{"OpenCTI down", opencti.ErrUnavailable, Transient, ReasonUnavailable, false},
		{"refused", opencti.ErrRefused, Permanent, ReasonContract, false},
		{"nobody waits", opencti.ErrNotFound, Skip, ReasonAnswered, true},
		{"it may have heard", opencti.ErrUnsure, Skip, ReasonAnswered, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &platform{fail: map[string]error{"playbook": tt.err}}
			job, err := p.publishing(shown).Run(context.Background(), playbookJob())
			if f := AsFault(err); f == nil || f.Class != tt.class || f.Reason != tt.reason || job.Answered != tt.answered {
				t.Errorf("Run() = answered %v, %+v, want %v, class %s, reason %s", job.Answered, f, tt.answered, tt.class, tt.reason)
			}
		})
	}
}

func TestEndingOfAPlaybook(t *testing.T) {
	t.Parallel()
	answered, bare := playbookJob(), playbookJob()
	answered.Answered = true
	bare.Request = &opencti.Request{Playbook: &opencti.Playbook{StepID: "step"}}
	tests := []struct {
		name  string
		job   Job
		err   error
		calls int
		want  error // nil for none
	}{
		{"handed back", playbookJob(), nil, 1, nil},
		{"answered already", answered, errors.New("answered again"), 0, nil},
		{"nobody waits", playbookJob(), opencti.ErrNotFound, 1, nil},
		{"it may have heard", playbookJob(), opencti.ErrUnsure, 1, nil},
		{"OpenCTI down", playbookJob(), opencti.ErrUnavailable, 1, opencti.ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &platform{fail: map[string]error{"playbook": tt.err}, playbook: func(sending context.Context, startedAt time.Time) {
				if _, bounded := sending.Deadline(); sending.Err() != nil || !bounded || !startedAt.Equal(at) {
					t.Errorf("context %v, bounded %v, started at %v, want one that goes on for a time of its own, and %v",
						sending.Err(), bounded, startedAt, at)
				}
			}}
			stopped, stop := context.WithCancel(context.Background())
			stop()
			err := Ending{Works: p, Playbooks: p}.DeadLettered(stopped, tt.job, fault(Permanent, ReasonOther, "x"), "01J")
			if !errors.Is(err, tt.want) || len(p.calls) != tt.calls {
				t.Errorf("DeadLettered() = %v after %q, want %v after %d calls", err, p.calls, tt.want, tt.calls)
			}
		})
	}
	p := &platform{}
	err := Ending{Works: p, Playbooks: p}.DeadLettered(context.Background(), bare, fault(Permanent, ReasonOther, "x"), "01J")
	if f := AsFault(err); f == nil || f.Class != Permanent || len(p.calls) > 0 {
		t.Errorf("DeadLettered() without a bundle = %v after %q, want a permanent fault and no answer", err, p.calls)
	}
}

// What is said of an observable can be seen by those who can see the observable, and by nobody else. A resolved address is no
// statement: it is only identified, for OpenCTI would add a marking to one that it has.
func TestEveryObjectOfASharedObservableIsShared(t *testing.T) {
	t.Parallel()
	e := entity("Domain-Name", "example.com")
	e.Organizations = []string{organization}
	e.Markings = []opencti.Marking{{ID: "marking-definition--1", Type: "PAP", Definition: "PAP:AMBER"}}
	var bundle struct {
		Objects []struct {
			Type     string
			Granted  []string `json:"x_opencti_granted_refs"`
			Markings []string `json:"object_marking_refs"`
		}
	}
	text := bundleOf(t, e, report(ipqs.KindURL, `{"risk_score":78,"ip_address":"203.0.113.9"}`), Scoring{}, Enrichment{DomainRelationships: true})
	if err := json.Unmarshal(text, &bundle); err != nil {
		t.Fatal(err)
	}
	if len(bundle.Objects) != 7 {
		t.Errorf("%d objects, want author, observable, indicator, note, address and two relationships", len(bundle.Objects))
	}
	for _, o := range bundle.Objects {
		if o.Type == "ipv4-addr" {
			if len(o.Granted)+len(o.Markings) > 0 {
				t.Errorf("the resolved address is shared with %q and marked %q, want neither", o.Granted, o.Markings)
			}
			continue
		}
		if diff := cmp.Diff([]string{organization}, o.Granted); diff != "" {
			t.Errorf("%s is shared with (-want +got):\n%s", o.Type, diff)
		}
		if o.Type == "identity" {
			continue // the author is everybody's
		}
		if diff := cmp.Diff([]string{"marking-definition--1"}, o.Markings); diff != "" {
			t.Errorf("%s is marked (-want +got):\n%s", o.Type, diff)
		}
	}
}
