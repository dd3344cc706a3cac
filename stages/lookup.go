package stages

import (
	"context"
	"fmt"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// kinds is which endpoint of IPQS answers for which type of OpenCTI.
var kinds = map[string]ipqs.Kind{
	"IPv4-Addr":    ipqs.KindIP,
	"IPv6-Addr":    ipqs.KindIP,
	"Email-Addr":   ipqs.KindEmail,
	"Phone-Number": ipqs.KindPhone,
	"Url":          ipqs.KindURL,
	"Domain-Name":  ipqs.KindURL,
}

// Lookup asks IPQS about the entity's value, exactly as OpenCTI has it, and stamps the time: the only clock a job has. An
// answer that was kept from before carries the time when it was given: that is what the verdict is of, and an observable
// that is looked up again gets the very same objects again.
func Lookup(risks ipqs.Lookuper, now func() time.Time) Stage {
	return Stage{
		Name:    "lookup",
		Needs:   []Section{SectionEntity},
		Fills:   []Section{SectionRisk},
		Timeout: time.Minute, // above every time limit of the client, which knows its endpoints better
		Run: func(ctx context.Context, job Job) (Job, error) {
			kind, ok := kinds[job.Entity.Type]
			if !ok {
				return job, fault(Permanent, ReasonUnsupported, "IPQS has no endpoint for %s", job.Entity.Type)
			}
			report, err := risks.Lookup(ctx, ipqs.Query{Kind: kind, Value: job.Entity.Value, Urgent: job.urgent()})
			if err != nil {
				return job, fmt.Errorf("asking IPQS: %w", err)
			}
			at := report.AskedAt
			if at.IsZero() {
				at = now()
			}
			job.Risk = &Risk{At: at.UTC().Truncate(time.Millisecond), Report: report}
			return job, nil
		},
	}
}
