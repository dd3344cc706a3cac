package standin_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
)

// enriched has an observable enriched in a world of its own, and returns what was published.
func enriched(t *testing.T, version string, o openctitest.Observable, answer ipqstest.Response, environ ...string) []message {
	t.Helper()
	ctx := limited(t)
	ends, observe := endings()
	to := &pushed{}
	world := connect(ctx, t, standin.Options{Version: version}, to, observe, environ...)
	world.IPQS.Script(ipqs.KindURL, o.Value, answer)
	if _, err := world.Platform.Enrich(ctx, world.Platform.AddObservable(o), openctitest.Manual); err != nil {
		t.Fatal(err)
	}
	checkEnd(ctx, t, ends, pipeline.Published, "")
	return to.all(t)
}

// scored is an answer of IPQS with a score, as IPQS writes it.
func scored(score string) ipqstest.Response {
	return ipqstest.Response{Body: fmt.Sprintf(`{"success":true,"message":"Success.","domain":%q,"ip_address":"203.0.113.9","risk_score":%s}`, value, score)}
}

// objectsOf decodes the objects of one type.
func objectsOf(t *testing.T, messages []message, kind string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for _, m := range messages {
		var o map[string]any
		if err := json.Unmarshal(m.Object, &o); err != nil {
			t.Fatal(err)
		}
		if o["type"] == kind {
			found = append(found, o)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no %s was published", kind)
	}
	return found
}

// TestTheEnrichedObservableKeepsItsAuthorAndMarkings: created_by_ref on it would replace its author, and a marking of ours
// would become one of its.
func TestTheEnrichedObservableKeepsItsAuthorAndMarkings(t *testing.T) {
	t.Parallel()
	const green = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
	for name, tt := range map[string]struct {
		markings []string
		want     any
	}{"marked": {[]string{"TLP:GREEN"}, []any{green}}, "not marked": {nil, nil}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			messages := enriched(t, "", openctitest.Observable{Type: "Domain-Name", Value: value, Markings: tt.markings}, scored("87"), "IPQS_DEFAULT_TLP=TLP:AMBER")
			o := objectsOf(t, messages, "domain-name")[0]
			for _, key := range []string{"created_by_ref", "x_opencti_created_by_ref"} {
				if author, there := o[key]; there {
					t.Errorf("the observable has %s %v, want none", key, author)
				}
			}
			if diff := cmp.Diff(tt.want, o["object_marking_refs"]); diff != "" {
				t.Errorf("its markings (-want +got):\n%s", diff)
			}
			if author := objectsOf(t, messages, "indicator")[0]["created_by_ref"]; author == nil {
				t.Error("what is ours has no author")
			}
		})
	}
}

// TestLabelsAreWhereTheWorkerReadsThem: x_opencti_labels is ignored on an object that has labels in its extension, so such
// an object must not carry both.
func TestLabelsAreWhereTheWorkerReadsThem(t *testing.T) {
	t.Parallel()
	messages := enriched(t, "", openctitest.Observable{Type: "Domain-Name", Value: value, Labels: []string{"seen before"}}, scored("87"))
	o := objectsOf(t, messages, "domain-name")[0]
	if diff := cmp.Diff([]any{`IPQS:RISK="CRITICAL"`}, o["x_opencti_labels"]); diff != "" {
		t.Errorf("x_opencti_labels (-want +got):\n%s", diff)
	}
	if o["extensions"] != nil || o["labels"] != nil {
		t.Errorf("the observable is %v, want no extension and no other labels beside them", o)
	}
}

// TestEveryScoreIsAnInteger: whatever number IPQS writes, for the platform takes nothing else.
func TestEveryScoreIsAnInteger(t *testing.T) {
	t.Parallel()
	written := regexp.MustCompile(`"x_opencti_score":([^,}]*)`)
	for given, want := range map[string]string{"87": "87", "87.0": "87", `"87"`: "87", "8.7e1": "87"} {
		t.Run(given, func(t *testing.T) {
			t.Parallel()
			found := 0
			for _, m := range enriched(t, "", openctitest.Observable{Type: "Domain-Name", Value: value}, scored(given)) {
				for _, score := range written.FindAllSubmatch(m.Object, -1) {
					if found++; string(score[1]) != want {
						t.Errorf("a score is written %s, want %s", score[1], want)
					}
				}
			}
			if found != 2 {
				t.Errorf("%d scores were published, want those of observable and indicator", found)
			}
		})
	}
}

// TestConfidence_ofNewObjects: the configured one, 50 by default, on objects that have a confidence, which observables do not.
func TestConfidence_ofNewObjects(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		want    any
	}{"default": {nil, float64(50)}, "configured": {[]string{"CONNECTOR_CONFIDENCE_LEVEL=60"}, float64(60)}} {
		for _, version := range []string{"5.12.33", "6.0.0", "7.260817.0"} {
			t.Run(name+"/"+version, func(t *testing.T) {
				t.Parallel()
				messages := enriched(t, version, openctitest.Observable{Type: "Domain-Name", Value: value}, scored("87"), tt.environ...)
				for kind, want := range map[string]any{
					"indicator": tt.want, "note": tt.want, "relationship": tt.want, "domain-name": nil, "ipv4-addr": nil, "identity": nil,
				} {
					for _, o := range objectsOf(t, messages, kind) {
						if diff := cmp.Diff(want, o["confidence"]); diff != "" {
							t.Errorf("confidence of a %s (-want +got):\n%s", kind, diff)
						}
					}
				}
			})
		}
	}
}

// TestTriggerFiltersReplaceAuto: from 6.2.0 on a connector that did not ask for new entities is sent some all the same when
// an administrator says so. They are jobs like others.
func TestTriggerFiltersReplaceAuto(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	world := connector(ctx, t, standin.Options{Version: "6.2.0"}, nil, "CONNECTOR_AUTO=false")
	id := world.Platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: value})
	if _, err := world.Platform.Enrich(ctx, id, openctitest.Auto); err == nil {
		t.Error("a job was sent to a connector that did not ask for it")
	}
	world.Platform.SetTriggerFilter(standin.ConnectorID, func(openctitest.Observable) bool { return true })
	work, err := world.Platform.Enrich(ctx, id, openctitest.Auto)
	if err != nil {
		t.Fatal(err)
	}
	if err := world.Platform.WaitWorks(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if w, _ := world.Platform.Work(work); len(w.Errors) > 0 || w.Imported == 0 {
		t.Errorf("work = %+v, want objects and no error", w)
	}
}

// TestOwnUpdate_isSkipped: with CONNECTOR_AUTO_UPDATE the import of our own score and labels causes a job. It finds the verdict
// applied and ends without a lookup and without an import, which would cause another job.
func TestOwnUpdate_isSkipped(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	to := &pushed{}
	world := connect(ctx, t, standin.Options{}, to, nil, "CONNECTOR_AUTO_UPDATE=true")
	world.IPQS.Script(ipqs.KindURL, value, scored("87"))
	id := world.Platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: value, Labels: []string{"seen before"}})
	var works [2]openctitest.Work
	for i := range works {
		work, err := world.Platform.Enrich(ctx, id, openctitest.AutoUpdate)
		if err != nil {
			t.Fatal(err)
		}
		if err := world.Platform.WaitWorks(ctx, i+1); err != nil {
			t.Fatal(err)
		}
		works[i], _ = world.Platform.Work(work)
	}
	if works[0].Imported == 0 || works[1].Imported != 0 || len(works[1].Errors) > 0 {
		t.Errorf("works = %+v, want objects of the first, and none and no error of the second", works)
	}
	if diff := cmp.Diff(map[ipqs.Kind]int{ipqs.KindURL: 1}, world.IPQS.Requests()); diff != "" {
		t.Errorf("requests to IPQS (-want +got):\n%s", diff)
	}
}
