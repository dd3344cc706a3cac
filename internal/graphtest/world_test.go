package graphtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

const (
	connectorID = "0d0c7a2c-2f9e-4f11-8c3e-1f1d7e6d4b10"
	token       = "d434ce02-58b1-4a8d-8b0f-000000000000"
)

// settings is what an operator sets.
type settings struct {
	enrichment stages.Enrichment
	version    string // of OpenCTI; the newest when empty
	autoUpdate bool
	scope      []string
}

// defaults are the settings of a worker that nobody configured.
func defaults() settings {
	minScores := stages.MinScores{}
	for _, kind := range []string{"ip", "email", "phone", "url", "leak", "file"} {
		minScores[kind] = 26
	}
	return settings{scope: types(), enrichment: stages.Enrichment{
		DefaultTLP: opencti.TLPClear, Confidence: new(50), IPRelationships: true, DomainRelationships: true,
		IndicatorFrom: minScores,
	}}
}

// world is an OpenCTI and a worker whose stages a test runs one by one.
type world struct {
	platform *openctitest.Platform
	jobs     <-chan []byte
	hops     []pipeline.Hop
	client   *opencti.Client
	push     [][]byte // published and not imported yet, in order
	answer   *ipqs.Report
	lookups  int
}

// direct carries requests to a handler within the process.
type direct struct{ to http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.to.ServeHTTP(w, r)
	return w.Result(), nil
}

// newWorld returns an empty OpenCTI and a worker that is registered with it.
func newWorld(t *testing.T, s settings) *world {
	t.Helper()
	broker := openctitest.MemoryBroker()
	platform, err := openctitest.New(openctitest.Options{Version: s.version, Token: token, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	client, err := opencti.New(opencti.Options{
		URL: "http://opencti.example", Token: token, HTTPClient: &http.Client{Transport: direct{platform}},
	})
	if err != nil {
		t.Fatal(err)
	}
	registration, err := client.Register(t.Context(), opencti.Connector{
		ID: connectorID, Name: "IPQS", Scope: s.scope, Auto: true, AutoUpdate: s.autoUpdate, PlaybookCompatible: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	has, err := client.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := platform.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{platform: platform, jobs: broker.Jobs(), client: client}
	var writes *stages.OwnWrites
	if s.autoUpdate {
		writes = stages.NewOwnWrites()
	}
	w.hops = pipeline.Definition(pipeline.World{
		Entities: client, Works: opencti.NewWorks(client), Playbooks: client, Risks: w,
		Sources: stages.Sources{Credentials: client, Files: client, Scanning: stages.Scanning{On: true, MaxSize: 1 << 20, Wait: time.Minute}},
		Labels:  labels{client, map[string]bool{}}, Indicators: client, Countries: w, Intake: w, Now: time.Now,
		Envelope: func(p opencti.PushOptions, bundle []byte) ([]byte, error) {
			p.ApplicantID, p.Capabilities = cmp.Or(p.ApplicantID, registration.ConnectorUserID), has
			return opencti.PushMessage(p, bundle)
		},
		Policy:     stages.Policy{Scope: s.scope, MaxTLP: opencti.TLPRed},
		Scoring:    stages.Scoring{FlagLabels: true},
		Enrichment: s.enrichment,
		OwnWrites:  writes,
	})
	return w
}

// labels makes each label once, like the worker.
type labels struct {
	*opencti.Client

	made map[string]bool
}

// EnsureLabel implements [stages.Labels].
func (l labels) EnsureLabel(ctx context.Context, value, color string) error {
	if l.made[value] {
		return nil
	}
	l.made[value] = true
	return l.Client.EnsureLabel(ctx, value, color)
}

// Lookup implements [ipqs.Lookuper]: the answer that the test has set, given now.
func (w *world) Lookup(context.Context, ipqs.Query) (*ipqs.Report, error) {
	w.lookups++
	report := *w.answer
	return &report, nil
}

// Country implements [stages.Countries].
func (w *world) Country(ctx context.Context, code, name string) (opencti.Country, bool, error) {
	all, err := w.client.Countries(ctx)
	i := slices.IndexFunc(all, func(c opencti.Country) bool { return c.Name == name || slices.Contains(c.Aliases, code) })
	if err != nil || i < 0 {
		return opencti.Country{}, false, err
	}
	return all[i], true, nil
}

// Push implements [stages.Intake].
func (w *world) Push(_ context.Context, messages [][]byte) error {
	w.push = append(w.push, messages...)
	return nil
}

// importOne imports the oldest published object. It reports whether there was one.
func (w *world) importOne(ctx context.Context) bool {
	if len(w.push) == 0 {
		return false
	}
	body := w.push[0]
	w.push = w.push[1:]
	w.platform.Import(ctx, body)
	return true
}

func (w *world) importAll(ctx context.Context) {
	for w.importOne(ctx) {
	}
}

// job asks OpenCTI for an enrichment, and takes the job up.
func (w *world) job(ctx context.Context, id string, trigger openctitest.Trigger, draftID string) (stages.Job, error) {
	if _, err := w.platform.EnrichInDraft(ctx, id, trigger, draftID); err != nil {
		return stages.Job{}, err
	}
	return stages.Open(<-w.jobs)
}

// run runs the job through the hops from one on, up to another and with it.
func (w *world) run(ctx context.Context, job stages.Job, from, to string) (stages.Job, error) {
	running := false
	for _, hop := range w.hops {
		running = running || hop.Name() == from
		if !running {
			continue
		}
		var err error
		if hop.Name() == "publish" {
			if job, err = carried(job); err != nil {
				return job, err
			}
		}
		if job, err = hop.Stage.Run(ctx, job); err != nil {
			return job, err
		}
		if hop.Name() == to {
			break
		}
	}
	return job, nil
}

// carried is the job as a message carries it.
func carried(job stages.Job) (stages.Job, error) {
	encoded, err := json.Marshal(job)
	if err != nil {
		return job, err
	}
	var next stages.Job
	return next, json.Unmarshal(encoded, &next)
}

// enrich has the observable enriched with an answer of IPQS, and everything imported.
func (w *world) enrich(ctx context.Context, id string, answer *ipqs.Report) error {
	job, err := w.job(ctx, id, openctitest.Manual, "")
	if err != nil {
		return err
	}
	w.answer = answer
	if _, err := w.run(ctx, job, "resolve", "publish"); err != nil {
		return err
	}
	w.importAll(ctx)
	return nil
}

// skipped returns why a job wrote nothing, "" for another error.
func skipped(err error) stages.Reason {
	if f, ok := errors.AsType[*stages.Fault](err); ok && f.Class == stages.Skip {
		return f.Reason
	}
	return ""
}

// source is somebody else who writes to OpenCTI.
type source struct {
	openctitest.Source

	name, author string
}

func newSource(name string, confidence int) source {
	id := map[string]string{
		"Vendor": "identity--11111111-1111-5111-8111-111111111111", "Feed": "identity--22222222-2222-5222-8222-222222222222",
	}[name]
	return source{openctitest.Source{UserID: "user of " + name, MaxConfidence: confidence}, name, id}
}

type object map[string]any

// write writes objects of a source, its identity first.
func (w *world) write(ctx context.Context, s source, objects ...object) error {
	author := object{"type": "identity", "id": s.author, "name": s.name, "identity_class": "organization"}
	for _, o := range append([]object{author}, objects...) {
		if err := w.platform.Write(ctx, s.Source, o); err != nil {
			return err
		}
	}
	return nil
}

// report is an answer of IPQS about a kind of value, from the fields of its JSON.
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
	default:
		r.File = &ipqs.File{}
		into = r.File
	}
	if err := json.Unmarshal([]byte(fields), into); err != nil {
		panic(fmt.Sprintf("an answer of %v: %v", kind, err))
	}
	return r
}

func isOwn(o openctitest.Object) bool { return o.Author == ownAuthor }

// ownAuthor is the key of the worker's identity.
const ownAuthor = "Organization IPQS"

func ownLabel(label string) bool { return strings.HasPrefix(label, "IPQS:") }
