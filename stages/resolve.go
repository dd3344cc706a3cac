package stages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/stix"
)

// Receiver tells OpenCTI that a work is in our hands.
type Receiver interface {
	Received(ctx context.Context, job opencti.WorkJob, message string) error
}

// Policy is what the operator allows to be looked up.
type Policy struct {
	// Scope lists OpenCTI's types ("IPv4-Addr"), as CONNECTOR_SCOPE does, in any case.
	Scope []string
	// MaxTLP is the strictest marking that may leave the house; DefaultTLP stands in for an entity without any.
	MaxTLP, DefaultTLP opencti.TLP
	// Guard refuses values that must not be sent to IPQS, so that their jobs end at the first hop.
	Guard egress.Guard
	// LiveOnly says that results can only go into the live data: what is asked from a draft would leave it.
	LiveOnly bool
}

const received = "IPQS: the job is being worked on."

// Open decodes OpenCTI's job message: the input of the first hop. The job that it returns with an error holds as much as could
// be read, so that its work can be told that it failed; it is identified by the digest of the message.
func Open(message []byte) (Job, error) {
	request, err := opencti.DecodeRequest(message)
	job := Job{ID: request.Key(), Request: &request}
	if err != nil || job.ID == "" {
		job.ID = opencti.BodyKey(message)
	}
	if err != nil {
		return job, &Fault{Class: Permanent, Reason: ReasonMalformed, Err: fmt.Errorf("decoding the job message: %w", err)}
	}
	if request.Playbook == nil {
		job.Hint = messageHint(message, request.EntityID)
	}
	return job, nil
}

// Resolve reads the entity that the job is about and what OpenCTI has of the worker's objects about it, having told OpenCTI
// that the work is received. It ends the job if the policy says that the entity is not to be looked up. A playbook has no work
// to tell of, and may ask about anything: its bundle is looked into first. now is the worker's clock.
func Resolve(entities Entities, works Receiver, policy Policy, now func() time.Time) Stage {
	r := resolver{
		reader: reader{entities, now}, works: works, policy: policy, scope: make(map[string]bool, len(policy.Scope)),
	}
	for _, name := range policy.Scope {
		r.scope[strings.ToLower(strings.TrimSpace(name))] = true
	}
	return Stage{
		Name:    "resolve",
		Needs:   []Section{SectionRequest},
		Fills:   []Section{SectionEntity, SectionState},
		Timeout: 30 * time.Second,
		Run:     r.run,
	}
}

type resolver struct {
	reader
	works  Receiver
	policy Policy
	scope  map[string]bool // in lower case
}

func (r resolver) run(ctx context.Context, job Job) (Job, error) {
	hint := job.Hint
	if playbook := job.Playbook(); playbook != nil {
		var err error
		if hint, err = r.given(playbook); err != nil {
			return job, err
		}
	} else if err := r.works.Received(ctx, job.work(), received); err != nil {
		return job, fmt.Errorf("telling that the work is received: %w", err)
	} else if r.policy.LiveOnly && job.Request.DraftID != "" {
		return job, fault(Skip, ReasonCapability,
			"the job is from a draft, and over OpenCTI's API (CONNECTOR_QUEUE_PROTOCOL=api) its results would go into the live data")
	}
	job, err := r.read(ctx, job, hint, r.allowed)
	if errors.Is(err, opencti.ErrNotFound) {
		err = &Fault{Class: Skip, Reason: ReasonNotFound, Err: err}
	}
	return job, err
}

// allowed returns the fault that ends a job about an entity that is not to be looked up.
func (r resolver) allowed(entity opencti.Entity) error {
	if err := r.inScope(entity.Type); err != nil {
		return err
	}
	tlp, marked := opencti.StrictestTLP(entity.Markings)
	if !marked {
		tlp = r.policy.DefaultTLP
	}
	if !tlp.Allowed(r.policy.MaxTLP) {
		return fault(Skip, ReasonTLP, "%s is above what this connector may look up (%s)", tlp, r.policy.MaxTLP)
	}
	_, err := sendable(r.policy.Guard, &entity)
	return err
}

func (r resolver) inScope(entityType string) error {
	if r.scope[strings.ToLower(entityType)] {
		return nil
	}
	return fault(Skip, ReasonScope, "%s is not in the scope of this connector (%s)", entityType, strings.Join(r.policy.Scope, ", "))
}

// given reads the object that a playbook asks about in the bundle that it gave us. A playbook can be built around anything,
// which OpenCTI would not show us as an observable: what is out of scope is none of our business before we ask.
func (r resolver) given(playbook *opencti.Playbook) (Hint, error) {
	object, err := stix.Find(playbook.Bundle, playbook.DataInstanceID)
	if err != nil {
		return Hint{}, fault(Permanent, ReasonMalformed, "finding what the playbook asks about: %w", err)
	}
	kind, known := stix.TypeBySTIX(object.Type)
	if !known {
		return Hint{}, r.inScope(object.Type)
	}
	return newHint(playbook.DataInstanceID, kind.Name, object.Value), r.inScope(kind.Name)
}
