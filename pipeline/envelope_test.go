package pipeline

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/stages"
)

// FuzzMembers finds in an object what encoding/json finds there, and nothing in what is none.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":"}","b":{"c":[1,{"d":"\""}]}, "e" : null }`, `{"a":1,}`, `{"a":1}x`, `[1]`, `"a"`, ``, `{"a"`,
		`{"a":"\\","b":[[]]}`, `{"a\"b":1}`, `{"a":1,"a":2}`, `{"a":-1.5e3,"b":true}`, `{"a":[}`, "\t{\"a\":\n1}\r\n", `{1:2}`, `{"a":}`, `{"a" 1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found := make(map[string]json.RawMessage)
		whole := true
		for key, value := range members(text) {
			if key == nil {
				whole = false
				break
			}
			var name string
			if err := json.Unmarshal([]byte(`"`+string(key)+`"`), &name); err != nil {
				whole = false // whoever decodes it finds out
				break
			}
			found[name] = value
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil || want == nil {
			return
		}
		if diff := cmp.Diff(want, found); !whole || diff != "" {
			t.Errorf("members(%q) (-want +got):\n%s", text, diff)
		}
	})
}

// What a stage does not read arrives at the next hop as it was written, unless it is spent.
func TestSectionsAreCarried(t *testing.T) {
	t.Parallel()
	const body = `{"id":"work_1","repeated":true,"request":{"work":"work_1","id":"x","new":"by a later release"},` +
		`"entity":{"value":"198.51.100.7","new":{"a":[1, 2]}},"risk":{"at":"2026-01-02T03:04:05Z","report":{"kind":"ip"}},` +
		`"verdict":null,"bundle":{"objects":[ "<&>" ]}}`
	score := stages.Stage{Name: "score", Needs: []stages.Section{stages.SectionRisk}, Fills: []stages.Section{stages.SectionVerdict}}
	msg, err := encode(stages.Job{ID: "any"}, carried{}, nil, "m", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	msg.Payload = []byte(body)
	came, err := decode(msg, score)
	if err != nil {
		t.Fatal(err)
	}
	job := came.job
	if job.Entity != nil || job.Bundle != nil || job.Risk == nil || job.Request == nil || !job.Repeated {
		t.Errorf("decode() = %+v, want the request and the risk alone", job)
	}
	job.Verdict = &stages.Verdict{Level: "HIGH"}
	on, err := encode(job, came, []stages.Section{stages.SectionRisk}, "m", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"work_1","repeated":true,"verdict":{"level":"HIGH"},"request":{"work":"work_1","id":"x","new":"by a later release"},` +
		`"entity":{"value":"198.51.100.7","new":{"a":[1, 2]}},"bundle":{"objects":[ "<&>" ]}}`
	if diff := cmp.Diff(want, string(on.Payload)); diff != "" {
		t.Errorf("encode() (-want +got):\n%s", diff)
	}
	bundle := stages.Stage{Name: "bundle", Needs: []stages.Section{stages.SectionEntity, stages.SectionVerdict, stages.SectionBundle}}
	if came, err = decode(on, bundle); err != nil || came.job.Entity.Value != "198.51.100.7" || string(came.job.Bundle) != `{"objects":[ "<&>" ]}` {
		t.Errorf("decode() at the next hop = %+v, %v, want the entity and the bundle", came.job, err)
	}
	job = came.job
	changed := *job.Entity
	changed.Value = "203.0.113.9"
	job.Entity, job.Bundle = &changed, json.RawMessage(`{}`)
	if on, err = encode(job, came, nil, "m", time.Now()); err != nil {
		t.Fatal(err)
	}
	if came, err = decode(on, bundle); err != nil || came.job.Entity.Value != "203.0.113.9" || string(came.job.Bundle) != `{}` {
		t.Errorf("decode() after a change = %+v, %v, want what it was changed to", came.job, err)
	}
	for _, broken := range []string{``, `null`, `[]`, `{"id":1}`, `{"id":"a","request":[]}`, `{"id":"a","risk":{"at"}}`, `{"id":"a"}{`} {
		msg.Payload = []byte(broken)
		if _, err := decode(msg, score); err == nil {
			t.Errorf("decode(%s) = nil error, want one", broken)
		}
	}
}
