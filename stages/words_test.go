package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// What an analyst reads names what happened in words, never in a chain of errors, and says whether anything was changed.
func TestSentences(t *testing.T) {
	t.Parallel()
	asked := func(class ipqs.Class, message string) *Fault {
		return AsFault(fmt.Errorf("asking IPQS: %w", &ipqs.APIError{Class: class, Kind: ipqs.KindURL, Status: 200, Message: message}))
	}
	told := func(err error) *Fault { return AsFault(fmt.Errorf("reading the entity x: %w", err)) }
	tests := []struct {
		fault *Fault
		want  string
	}{
		{asked(ipqs.ClassItem, "Invalid URL."), "IPQS rejected the URL: Invalid URL"},
		{asked(ipqs.ClassUnavailable, ""), "IPQS was unavailable for too long"},
		{asked(ipqs.ClassThrottled, ""), "IPQS rate limit exceeded"},
		{asked(ipqs.ClassKey, "Invalid or unauthorized key."), "IPQS rejected the API key of the connector"},
		{asked(ipqs.ClassCredits, "x"), "The IPQS account has no credits left"},
		{asked(ipqs.ClassQuota, "x"), "The daily request quota of the IPQS account is exhausted"},
		{asked(ipqs.ClassBudget, "the day's 5 credits are spent"), "The day's 5 credits are spent"},
		{asked(ipqs.ClassBudget, ""), "The daily credit budget of the connector is exhausted"},
		{asked(ipqs.ClassReserve, "the last 10 credits are held back"), "The last 10 credits are held back"},
		{asked(ipqs.ClassReserve, ""), "The IPQS account has no credits left"},
		{fault(Skip, ReasonRecent, "enriched 2h ago"), "Enriched 2h ago"},
		{asked(ipqs.ClassMalformed, "x"), "IPQS sent an unreadable response"},
		{asked(ipqs.ClassUnknown, "Something new."), "IPQS rejected the request: Something new"},
		{asked(ipqs.ClassCircuitOpen, ""), "IPQS failed repeatedly and was not queried"},
		{told(opencti.ErrNotFound), "The entity does not exist, or the connector's user cannot see it"},
		{told(opencti.ErrAuth), "OpenCTI rejected the token of the connector"},
		{told(opencti.ErrUnavailable), "OpenCTI was unavailable for too long"},
		{told(opencti.ErrRefused), "OpenCTI rejected a request of the connector"},
		{told(context.DeadlineExceeded), "Timed out waiting for a response"},
		{fault(Permanent, ReasonMalformed, "event.entity_id is missing"), "The job cannot be read: event.entity_id is missing"},
		{fault(Skip, ReasonCapability, "the job is from a draft"), "The job is from a draft"},
		{fault(Skip, ReasonScope, "Mutex is not in the scope"), "Mutex is not in the scope"},
		{fault(Transient, ReasonBroker, "x: y: z"), "RabbitMQ did not accept the objects in time"},
		{fault(Permanent, ReasonCrashLoop, "x"), "The worker crashed repeatedly while processing this job"},
		{Panicked(), "Internal error in the worker"},
		{AsFault(errors.New("something else")), "Something else"},
	}
	for _, tt := range tests {
		t.Run(string(tt.fault.Reason), func(t *testing.T) {
			t.Parallel()
			job := Job{Request: &opencti.Request{WorkID: "w", EntityType: "Url"}}
			if got := tt.fault.sentence(job); got != tt.want {
				t.Errorf("sentence() = %q, want %q", got, tt.want)
			}
			if got := tt.fault.sentence(Job{}); strings.Contains(got, "looking up") || got == "" {
				t.Errorf("sentence() of a job that was not read = %q, want words", got)
			}
		})
	}
	for class, want := range map[Class]string{Permanent: "Some objects may have been imported", Skip: "Nothing was changed"} {
		if got := changed(Job{Bundle: json.RawMessage(`{}`)}, &Fault{Class: class}); got != want {
			t.Errorf("changed() of a job with a bundle, class %s = %q, want %q", class, got, want)
		}
	}
}
