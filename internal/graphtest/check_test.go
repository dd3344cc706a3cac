package graphtest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/stages"
)

// bookkeeping are the fields in which OpenCTI notes that somebody sent an object, whether or not that changed it.
var bookkeeping = cmpopts.IgnoreFields(openctitest.Object{}, "StixIDs", "Creators", "UpdatedAt", "Modified")

func withoutBookkeeping(o openctitest.Object) openctitest.Object {
	o.StixIDs, o.Creators, o.UpdatedAt, o.Modified = nil, nil, time.Time{}, time.Time{}
	return o
}

// same fails where two graphs differ.
func same(before, after openctitest.Graph) error {
	if reflect.DeepEqual(before, after) {
		return nil
	}
	if diff := cmp.Diff(before, after, bookkeeping); diff != "" {
		return fmt.Errorf("the graph changed (-before +after):\n%s", diff)
	}
	return nil
}

// check fails where the worker has changed what it may not.
func (p *play) check(before, after openctitest.Graph) error {
	for key, was := range before {
		is, ok := after[key]
		if !ok {
			return fmt.Errorf("%s is gone", key)
		}
		allowed, err := p.allowed(was, is)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if a, b := withoutBookkeeping(allowed), withoutBookkeeping(is); !reflect.DeepEqual(a, b) {
			if diff := cmp.Diff(a, b); diff != "" {
				return fmt.Errorf("%s changed (-allowed +is):\n%s", key, diff)
			}
		}
	}
	for key, is := range after {
		if _, ok := before[key]; ok {
			continue
		}
		if err := p.mayAdd(key, is); err != nil {
			return fmt.Errorf("%s was added: %w", key, err)
		}
	}
	return nil
}

// allowed returns what the object is if all that the worker may change of it is as it is now.
func (p *play) allowed(was, is openctitest.Object) (openctitest.Object, error) {
	allowed := was
	switch {
	case was.Type == p.kind.name && was.Value == p.kind.value || was.Type == p.kind.name && was.StandardID == p.id:
		if err := p.scored(was, is); err != nil {
			return was, err
		}
		allowed.Score, allowed.ExternalReferences = is.Score, ownReferences(was, is)
		labels, err := relabelled(was, is)
		allowed.Labels = labels
		return allowed, err
	case was.Type == "External-Reference" && was.SourceName == "IPQualityScore":
		allowed.Description = is.Description
		return allowed, nil
	case !isOwn(was):
		return was, nil
	case was.Type == "Note":
		allowed.Content, allowed.Abstract, allowed.Objects, allowed.Confidence = is.Content, is.Abstract, is.Objects, is.Confidence
		allowed.StandardID, allowed.Markings, allowed.Created = is.StandardID, raised(was, is), is.Created
		return allowed, lowered("confidence", was.Confidence, is.Confidence)
	case was.Type == "Indicator":
		return p.ownIndicator(was, is)
	default: // a relationship
		allowed.Description, allowed.Confidence, allowed.Created = is.Description, is.Confidence, is.Created
		return allowed, lowered("confidence", was.Confidence, is.Confidence)
	}
}

// ownIndicator returns what the worker's indicator may be now. One that a person revoked does not come back, unless it may.
func (p *play) ownIndicator(was, is openctitest.Object) (openctitest.Object, error) {
	if was.Revoked && !is.Revoked && !p.mayRevive(was) {
		return was, fmt.Errorf("a revoked indicator is valid again (IPQS_INDICATOR_REVIVE=%s, revoked by a person: %t)", p.revive, p.byPerson(was))
	}
	if err := lowered("confidence", was.Confidence, is.Confidence); err != nil {
		return was, err
	}
	allowed := is
	allowed.Author, allowed.Pattern, allowed.Type = was.Author, was.Pattern, was.Type
	allowed.Markings, allowed.ExternalReferences = raised(was, is), ownReferences(was, is)
	labels, err := relabelled(was, is)
	allowed.Labels = labels
	for _, kept := range was.IndicatorTypes {
		if kept == "attribution" && !slices.Contains(is.IndicatorTypes, kept) {
			return was, fmt.Errorf("the indicator type of another source is gone: %q", is.IndicatorTypes)
		}
	}
	return allowed, err
}

// byPerson reports whether a person revoked the indicator.
func (p *play) byPerson(o openctitest.Object) bool {
	if o.Decay == nil {
		return o.Revoked && p.revoked
	}
	return o.Revoked && o.Decay.History[len(o.Decay.History)-1].By == person
}

func (p *play) mayRevive(o openctitest.Object) bool {
	switch p.revive {
	case stages.ReviveAlways:
		return true
	case stages.ReviveNever:
		// Of two jobs at once, one may revoke it and the other, which has read it before, may not know.
		return !p.byPerson(o) && (o.Decay == nil || o.Decay.History[len(o.Decay.History)-1].By == openctitest.UserID)
	default:
		return !p.byPerson(o)
	}
}

// scored fails where the score policy does not allow what happened to the score of the observable. It holds for scores that are
// not the worker's own.
func (p *play) scored(was, is openctitest.Object) error {
	if reflect.DeepEqual(was.Score, is.Score) {
		return nil
	}
	foreignScore := was.Score != nil && !reflect.DeepEqual(was.Score, p.ownScore)
	p.ownScore = is.Score
	switch {
	case is.Score == nil:
		return fmt.Errorf("the score %d is gone", *was.Score)
	case p.policy == stages.KeepScore:
		return fmt.Errorf("the score became %d under the policy %s", *is.Score, p.policy)
	case !foreignScore:
		return nil
	case p.policy == stages.RaiseScore && *is.Score < *was.Score,
		p.policy == stages.RespectScore && was.Author != "" && !isOwn(was) && *is.Score < *was.Score:
		return fmt.Errorf("the score of another source fell from %d to %d under the policy %s", *was.Score, *is.Score, p.policy)
	}
	return nil
}

// relabelled returns the labels that the object may have now: those of others as they were, and the worker's as they are.
func relabelled(was, is openctitest.Object) ([]string, error) {
	others := func(labels []string) []string {
		return slices.DeleteFunc(slices.Clone(labels), ownLabel)
	}
	if !slices.Equal(others(was.Labels), others(is.Labels)) {
		return was.Labels, fmt.Errorf("labels of others changed from %q to %q", was.Labels, is.Labels)
	}
	return is.Labels, nil
}

// ownReferences returns the references of before, and the worker's own.
func ownReferences(was, is openctitest.Object) []string {
	refs := slices.Clone(was.ExternalReferences)
	for _, ref := range is.ExternalReferences {
		if own := "External-Reference https://www.ipqualityscore.com/"; !slices.Contains(refs, ref) && len(ref) > len(own) && ref[:len(own)] == own {
			refs = append(refs, ref)
		}
	}
	slices.Sort(refs)
	return refs
}

// raised returns the markings of now where each of before is there or has a higher one of its type instead: the worker's own
// objects follow the observable's.
func raised(was, is openctitest.Object) []string {
	if len(is.Markings) < len(was.Markings) {
		return was.Markings
	}
	return is.Markings
}

func lowered(what string, was, is *int) error {
	if was != nil && (is == nil || *is < *was) {
		return fmt.Errorf("%s fell from %d to %d", what, *was, deref(is))
	}
	return nil
}

func deref(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

// mayAdd fails where an object is not one of those that the worker adds, or has what a shared object must not have.
func (p *play) mayAdd(key string, is openctitest.Object) error {
	switch is.Type {
	case "Organization":
		if key != ownAuthor {
			return errors.New("not the worker's identity")
		}
	case "Indicator", "Note", "belongs-to", "resolves-to", "located-at", "based-on":
		if !isOwn(is) {
			return fmt.Errorf("its author is %q", is.Author)
		}
	case "Autonomous-System", "IPv4-Addr", "IPv6-Addr":
		if is.StandardID == p.id {
			return errors.New("a deleted observable was created again")
		}
		if is.Author != "" || len(is.Markings) > 0 || len(is.Labels) > 0 || is.Score != nil || is.Name != "" {
			return fmt.Errorf("it has more than what identifies it: %+v", is)
		}
	case "External-Reference":
		if is.SourceName != "IPQualityScore" {
			return fmt.Errorf("its source is %q", is.SourceName)
		}
	case "Country":
		if p.country {
			return errors.New("OpenCTI has countries of its own")
		}
	default:
		return fmt.Errorf("it is a %s", is.Type)
	}
	return nil
}
