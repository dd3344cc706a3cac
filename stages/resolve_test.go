package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/opencti"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, message string
		wantID        string
		wantErr       string
	}{
		{"a job", `{"internal":{"work_id":"work_1"},"event":{"entity_id":"ipv4-addr--1"}}`, "work_1/ipv4-addr--1", ""},
		{"no entity", `{"internal":{"work_id":"work_1"},"event":{}}`, opencti.BodyKey([]byte(`{"internal":{"work_id":"work_1"},"event":{}}`)), "event.entity_id"},
		{"no JSON", `hello`, "", "job message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job, err := Open([]byte(tt.message))
			if tt.wantID != "" && job.ID != tt.wantID {
				t.Errorf("Open() id = %q, want %q", job.ID, tt.wantID)
			}
			if tt.wantErr == "" {
				if err != nil {
					t.Errorf("Open() error = %v", err)
				}
				return
			}
			f := AsFault(err)
			if f == nil || f.Class != Permanent || f.Reason != ReasonMalformed || !strings.Contains(f.Error(), tt.wantErr) {
				t.Errorf("Open() error = %#v, want a permanent fault that names %s", f, tt.wantErr)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	policy := Policy{Scope: []string{"IPv4-Addr", "Domain-Name"}, MaxTLP: opencti.TLPAmber}
	marked := func(definitions ...string) opencti.Entity {
		e := ipv4()
		for _, d := range definitions {
			e.Markings = append(e.Markings, opencti.Marking{ID: "marking-definition--" + d, Type: "TLP", Definition: d})
		}
		return e
	}
	typed := func(kind, value string) opencti.Entity {
		e := ipv4()
		e.Type, e.Value = kind, value
		return e
	}
	tests := []struct {
		name   string
		entity opencti.Entity
		err    error
		policy func(*Policy)
		want   *Fault // nil: resolved; only class and reason count
	}{
		{name: "unmarked", entity: ipv4()},
		{name: "scope in another case", entity: typed("ipv4-addr", "198.51.100.7")},
		{name: "at the ceiling", entity: marked("TLP:AMBER")},
		{name: "above the ceiling", entity: marked("TLP:RED"), want: &Fault{Class: Skip, Reason: ReasonTLP}},
		{name: "the strictest of several counts", entity: marked("TLP:RED", "TLP:GREEN"), want: &Fault{Class: Skip, Reason: ReasonTLP}},
		{name: "a TLP nobody knows", entity: marked("TLP:PURPLE"), want: &Fault{Class: Skip, Reason: ReasonTLP}},
		{
			name: "unmarked counts as the default", entity: ipv4(),
			policy: func(p *Policy) { p.DefaultTLP = opencti.TLPRed }, want: &Fault{Class: Skip, Reason: ReasonTLP},
		},
		{name: "out of scope", entity: typed("Url", "https://example.com/"), want: &Fault{Class: Skip, Reason: ReasonScope}},
		{name: "RFC 1918", entity: typed("IPv4-Addr", "10.1.2.3"), want: &Fault{Class: Skip, Reason: ReasonPrivate}},
		{name: "loopback", entity: typed("IPv4-Addr", "127.0.0.1"), want: &Fault{Class: Skip, Reason: ReasonPrivate}},
		{name: "shared by a carrier's customers", entity: typed("IPv4-Addr", "100.64.0.1"), want: &Fault{Class: Skip, Reason: ReasonPrivate}},
		{name: "multicast", entity: typed("IPv4-Addr", "224.0.0.1"), want: &Fault{Class: Skip, Reason: ReasonPrivate}},
		{name: "broadcast", entity: typed("IPv4-Addr", "255.255.255.255"), want: &Fault{Class: Skip, Reason: ReasonPrivate}},
		{name: "just public", entity: typed("IPv4-Addr", "100.128.0.1")},
		{name: "link-local", entity: typed("IPv4-Addr", "169.254.1.1"), want: &Fault{Class: Skip, Reason: ReasonPrivate}},
		{name: "name of an internal network", entity: typed("Domain-Name", "files.corp.local"), want: &Fault{Class: Skip, Reason: ReasonInternalName}},
		{name: "network", entity: typed("IPv4-Addr", "198.51.100.0/24"), want: &Fault{Class: Skip, Reason: ReasonNetwork}},
		{
			name: "excluded by the operator", entity: typed("Domain-Name", "www.example.com"),
			policy: func(p *Policy) {
				exclusions, _ := egress.ParseExclusions([]string{"example.com"})
				p.Guard = egress.New(exclusions, egress.FullURL)
			}, want: &Fault{Class: Skip, Reason: ReasonExcluded},
		},
		{
			name: "from a draft, where results go into the live data alone", entity: ipv4(),
			policy: func(p *Policy) { p.LiveOnly = true }, want: &Fault{Class: Skip, Reason: ReasonCapability},
		},
		{name: "not found", err: opencti.ErrNotFound, want: &Fault{Class: Skip, Reason: ReasonNotFound}},
		{name: "OpenCTI down", err: opencti.ErrUnavailable, want: &Fault{Class: Transient, Reason: ReasonUnavailable}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			policy := policy
			if tt.policy != nil {
				tt.policy(&policy)
			}
			request := opencti.Request{WorkID: "work_1", DraftID: "draft", EntityID: "ipv4-addr--1"}
			told := &platform{}
			asked := ""
			stage := Resolve(fakeEntities(func(id, draft string) (opencti.Entity, error) {
				asked = id + " " + draft
				return tt.entity, tt.err
			}), told, policy, clock)
			job, err := stage.Run(context.Background(), Job{ID: "j", Request: &request})
			if tt.want != nil {
				f := AsFault(err)
				if f == nil || f.Class != tt.want.Class || f.Reason != tt.want.Reason {
					t.Errorf("Run() error = %+v, want class %s, reason %s", f, tt.want.Class, tt.want.Reason)
				}
				if job.Entity != nil {
					t.Errorf("Run() filled the entity of a job that ends here")
				}
				return
			}
			if err != nil {
				t.Fatalf("Run() error = %v", err)
			}
			if diff := cmp.Diff(&tt.entity, job.Entity); diff != "" {
				t.Errorf("entity (-want +got):\n%s", diff)
			}
			if asked != "ipv4-addr--1 draft" {
				t.Errorf("asked for %q, want the entity in its draft", asked)
			}
			if diff := cmp.Diff([]string{"received work_1"}, told.calls); diff != "" {
				t.Errorf("told OpenCTI (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolveKeepsTheRequestOfAnotherDelivery(t *testing.T) {
	t.Parallel()
	request := &opencti.Request{EntityID: "ipv4-addr--1"}
	stage := Resolve(fakeEntities(func(string, string) (opencti.Entity, error) { return ipv4(), nil }), &platform{},
		Policy{Scope: []string{"IPv4-Addr"}, MaxTLP: opencti.TLPAmber}, clock)
	job, err := stage.Run(context.Background(), Job{ID: "j", Request: request})
	if err != nil {
		t.Fatal(err)
	}
	if request.EntityType != "" || job.Request.EntityType != "IPv4-Addr" {
		t.Errorf("type of the request given = %q, returned = %q, want it filled in a copy", request.EntityType, job.Request.EntityType)
	}
}

func TestResolveStopsWhenOpenCTIIsNotTold(t *testing.T) {
	t.Parallel()
	stage := Resolve(fakeEntities(func(string, string) (opencti.Entity, error) {
		return opencti.Entity{}, errors.New("asked although the work was not received")
	}), &platform{fail: map[string]error{"received": opencti.ErrUnavailable}}, Policy{}, clock)
	_, err := stage.Run(context.Background(), Job{Request: &opencti.Request{WorkID: "w", EntityID: "e"}})
	if !errors.Is(err, opencti.ErrUnavailable) {
		t.Errorf("Run() error = %v, want %v", err, opencti.ErrUnavailable)
	}
}

// TestOpen_hint: a job message that describes its entity says what note and indicator to read. The value itself does not go on.
func TestOpen_hint(t *testing.T) {
	t.Parallel()
	const id = "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"
	message := func(object string) []byte {
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(`{"internal":{"work_id":"w"},"event":{"entity_id":"` + id + `","stix_entity":` + string(text) + `}}`)
	}
	whole := Hint{IndicatorID: "indicator--3ae0b0a2-7289-5fda-8a85-02d057ba0968", NoteID: "note--37ff2a87-e8ee-50af-8a6d-808abe6230f7"}
	for object, want := range map[string]Hint{
		`{"id":"` + id + `","type":"ipv4-addr","value":"198.51.100.7"}`: whole,
		`{"id":"` + id + `","type":"ipv4-addr"}`:                        {NoteID: whole.NoteID},
		`{"id":"` + id + `","type":"mutex","name":"x"}`:                 {},
		`[]`: {},
		``:   {},
	} {
		job, err := Open(message(object))
		if err != nil || job.Hint != want {
			t.Errorf("Open() of %s = %+v, %v, want %+v", object, job.Hint, err, want)
		}
		if text := fmt.Sprintf("%+v %+v", job, job.Request); strings.Contains(text, "198.51.100.7") {
			t.Errorf("the job has the value: %s", text)
		}
	}
}
