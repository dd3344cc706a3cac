package stages

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

// Entities reads what a job is about. It returns an error that is [opencti.ErrNotFound] when OpenCTI does not show it.
type Entities interface {
	Entity(ctx context.Context, id, draftID string) (opencti.Entity, error)
}

// Receiver tells OpenCTI that a work is in our hands.
type Receiver interface {
	Received(ctx context.Context, workID, message string) error
}

// Policy is what the operator allows to be looked up.
type Policy struct {
	// Scope lists OpenCTI's types ("IPv4-Addr"), as CONNECTOR_SCOPE does, in any case.
	Scope []string
	// MaxTLP is the strictest marking that may leave the house; DefaultTLP stands in for an entity without any.
	MaxTLP, DefaultTLP opencti.TLP
	// SkipPrivate keeps addresses that only mean something inside a network from being looked up.
	SkipPrivate bool
}

const received = "IPQS: the job is being worked on."

// Open decodes OpenCTI's job message: what stands at the head of the pipeline. The job it returns next to an error holds
// as much as could be read, so that a work can still be told how it ended.
func Open(message []byte) (Job, error) {
	request, err := opencti.DecodeRequest(message)
	job := Job{ID: request.Key(), Request: &request}
	if err != nil {
		return job, &Fault{Class: Permanent, Reason: ReasonMalformed, Err: fmt.Errorf("decoding the job message: %w", err)}
	}
	return job, nil
}

// Resolve reads the entity that the job is about, having told OpenCTI that the work is received, and ends the job here
// if the policy says that it is not to be looked up.
func Resolve(entities Entities, works Receiver, policy Policy) Stage {
	scope := make(map[string]bool, len(policy.Scope))
	for _, name := range policy.Scope {
		scope[strings.ToLower(strings.TrimSpace(name))] = true
	}
	return Stage{
		Name:    "resolve",
		Needs:   []Section{SectionRequest},
		Fills:   []Section{SectionEntity},
		Timeout: 30 * time.Second,
		Run: func(ctx context.Context, job Job) (Job, error) {
			if job.Request.Playbook != nil {
				return job, fault(Skip, ReasonPlaybook, "the playbook's bundle is handed back unchanged")
			}
			if err := works.Received(ctx, job.Request.WorkID, received); err != nil {
				return job, fmt.Errorf("telling that the work is received: %w", err)
			}
			entity, err := entities.Entity(ctx, job.Request.EntityID, job.Request.DraftID)
			if err != nil {
				return job, fmt.Errorf("reading the entity %s: %w", job.Request.EntityID, err)
			}
			request := *job.Request
			request.EntityType = entity.Type
			job.Request = &request
			if !scope[strings.ToLower(entity.Type)] {
				return job, fault(Skip, ReasonScope, "%s is not in the scope of this connector (%s)",
					entity.Type, strings.Join(policy.Scope, ", "))
			}
			tlp, marked := opencti.StrictestTLP(entity.Markings)
			if !marked {
				tlp = policy.DefaultTLP
			}
			if !tlp.Allowed(policy.MaxTLP) {
				return job, fault(Skip, ReasonTLP, "%s is above what this connector may look up (%s)", tlp, policy.MaxTLP)
			}
			if policy.SkipPrivate && private(entity) {
				return job, fault(Skip, ReasonPrivate, "%s is an address that only means something inside a network", entity.Value)
			}
			job.Entity = &entity
			return job, nil
		},
	}
}

// private reports whether the entity is an address that IPQS cannot know anything of: RFC 1918, RFC 4193, loopback,
// link-local or unspecified.
func private(entity opencti.Entity) bool {
	if !slices.Contains([]string{"IPv4-Addr", "IPv6-Addr"}, entity.Type) {
		return false
	}
	addr, err := netip.ParseAddr(entity.Value)
	if err != nil {
		return false // let IPQS say what it thinks of it
	}
	addr = addr.Unmap()
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()
}
