package standin_test

import (
	"bytes"
	"testing"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// TestAPlaybookGoesOnOnceWhateverBecomesOfTheReply: an answer that OpenCTI has heard is not given again when its reply is
// lost, neither the enriched one nor the bundle handed back; one that OpenCTI has refused for the moment is.
func TestAPlaybookGoesOnOnceWhateverBecomesOfTheReply(t *testing.T) {
	t.Parallel()
	lost := func(p *openctitest.Platform) { p.LoseNext("PlaybookStep", 1) }
	tests := []struct {
		name    string
		refused bool // by IPQS
		trouble func(*openctitest.Platform)
		end     pipeline.End
		reason  stages.Reason
		asked   int // how often OpenCTI was told
	}{
		{"reply lost", false, lost, pipeline.Skipped, stages.ReasonAnswered, 1},
		{"reply to the bundle handed back lost", true, lost, pipeline.DeadLettered, stages.ReasonInvalidValue, 1},
		{"not heard", false, func(p *openctitest.Platform) { p.FailNext("PlaybookStep", 1, "DATABASE_ERROR") }, pipeline.Published, "", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := limited(t)
			ends, observe := endings()
			world := connector(ctx, t, standin.Options{}, observe)
			const value = "host.example.com"
			if tt.refused {
				world.IPQS.Script(ipqs.KindURL, value, ipqstest.Refusal(ipqstest.MessageInvalidURL))
			}
			tt.trouble(world.Platform)
			id := world.Platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: value})
			if _, err := world.Platform.Enrich(ctx, id, openctitest.ByPlaybook); err != nil {
				t.Fatal(err)
			}
			checkEnd(ctx, t, ends, tt.end, tt.reason)
			answers := world.Platform.PlaybookAnswers()
			if n := world.Platform.Requests()["PlaybookStep"]; n != tt.asked || len(answers) != 1 {
				t.Fatalf("OpenCTI was told %d times and has %d answers, want %d and one", n, len(answers), tt.asked)
			}
			if same := bytes.Equal(answers[0].Bundle, answers[0].Previous); same != tt.refused {
				t.Errorf("the answer is the bundle as it came: %t, want %t", same, tt.refused)
			}
			if complaints := world.Platform.Complaints(); len(complaints) > 0 {
				t.Errorf("OpenCTI complains: %q", complaints)
			}
		})
	}
}
