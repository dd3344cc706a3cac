package standin_test

import (
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// TestWhatOpenCTIRefusesEndsAsItShould: each code that OpenCTI refuses by, at the first question of a job about its entity.
// What passes is asked again and the job published; what does not ends the work in error, once, with words for it.
func TestWhatOpenCTIRefusesEndsAsItShould(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, code string
		end        pipeline.End
		reason     stages.Reason
		says       string
	}{
		{"lock", "LOCK_ERROR", pipeline.Published, "", ""},
		{"missing reference", "MISSING_REFERENCE_ERROR", pipeline.Published, "", ""},
		{"database", "DATABASE_ERROR", pipeline.Published, "", ""},
		{"server", "INTERNAL_SERVER_ERROR", pipeline.Published, "", ""},
		{"gateway", "", pipeline.Published, "", ""},
		{"code nobody knows", "SOMETHING_NEW", pipeline.Published, "", ""},
		{
			"forbidden", "FORBIDDEN_ACCESS", pipeline.DeadLettered, stages.ReasonCapability,
			"The IPQS plan or the rights of the connector's user do not include this.",
		},
		{
			"not found", "RESOURCE_NOT_FOUND", pipeline.Skipped, stages.ReasonNotFound,
			"The entity does not exist, or the connector's user cannot see it.",
		},
		{"deleted", "ALREADY_DELETED_ERROR", pipeline.Skipped, stages.ReasonNotFound, "The entity does not exist, or the connector's user cannot see it."},
		{"draft locked", "DRAFT_LOCKED", pipeline.DeadLettered, stages.ReasonContract, "OpenCTI rejected a request of the connector."},
		{"refused", "FUNCTIONAL_ERROR", pipeline.DeadLettered, stages.ReasonContract, "OpenCTI rejected a request of the connector."},
		{"invalid", "VALIDATION_ERROR", pipeline.DeadLettered, stages.ReasonContract, "OpenCTI rejected a request of the connector."},
		{"unsupported", "UNSUPPORTED_ERROR", pipeline.DeadLettered, stages.ReasonContract, "OpenCTI rejected a request of the connector."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := limited(t)
			ends, observe := endings()
			world := connector(ctx, t, standin.Options{}, observe, "CONNECTOR_SKIP_AS=error")
			world.IPQS.Script(ipqs.KindURL, value, scored("87"))
			if tt.code == "" {
				world.Platform.LoseNext("State", 1)
			} else {
				world.Platform.FailNext("State", 1, tt.code)
			}
			id := world.Platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: value})
			work, err := world.Platform.Enrich(ctx, id, openctitest.Manual)
			if err != nil {
				t.Fatal(err)
			}
			checkEnd(ctx, t, ends, tt.end, tt.reason)
			if err := world.Platform.WaitWorks(ctx, 1); err != nil {
				t.Fatal(err)
			}
			w, _ := world.Platform.Work(work)
			switch {
			case w.ProcessedTimes != 1:
				t.Errorf("the work was ended %d times, want once", w.ProcessedTimes)
			case tt.says == "" && (len(w.Errors) > 0 || w.Imported == 0):
				t.Errorf("work = %+v, want objects and no error", w)
			case tt.says != "" && (len(w.Errors) != 1 || !strings.HasPrefix(w.Errors[0].Message, tt.says)):
				t.Errorf("errors of the work = %+v, want one that begins with %q", w.Errors, tt.says)
			}
			asked := map[bool]int{true: 2, false: 1}[tt.says == ""]
			if n := world.Platform.Requests()["State"]; n != asked {
				t.Errorf("OpenCTI was asked %d times, want %d", n, asked)
			}
		})
	}
}

// TestATokenThatIsRefusedHoldsJobsBack: while OpenCTI does not accept the token nothing can be done with any job, and none
// of them ends for it.
func TestATokenThatIsRefusedHoldsJobsBack(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	ended := make(chan pipeline.Outcome, 10)
	paused := make(chan pipeline.Outcome, 1000)
	world := connector(ctx, t, standin.Options{}, func(o pipeline.Outcome) {
		if o.End != "" {
			ended <- o
			return
		}
		if o.Fault != nil {
			select {
			case paused <- o:
			default:
			}
		}
	})
	world.Platform.FailNext("WorkReceived", 1, "AUTH_REQUIRED")
	id := world.Platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: value})
	if _, err := world.Platform.Enrich(ctx, id, openctitest.Manual); err != nil {
		t.Fatal(err)
	}
	select {
	case o := <-paused:
		if o.Fault.Class != stages.AccountWide || o.Fault.Reason != stages.ReasonAuth {
			t.Errorf("fault = %s, %s, want one of the whole account, auth", o.Fault.Class, o.Fault.Reason)
		}
	case o := <-ended:
		t.Errorf("the job ended %s, want it to wait", o.End)
	case <-ctx.Done():
		t.Fatal("nothing became of the job")
	}
}
