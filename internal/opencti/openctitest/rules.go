package openctitest

import "opencti-ipqs-worker/internal/opencti"

// rules is how a release behaves where its schema does not show it.
type rules struct {
	playbooks     bool // 5.11.0: playbooks exist
	entityType    bool // 6.0.0: jobs name event_type and entity_type; before, a manual job names its applicant
	eventID       bool // 6.1.0: a playbook's job has event_id
	filters       bool // 6.2.0: an administrator's filters replace a connector's auto
	lowercases    bool // 6.2.5: the values of domains and e-mail addresses are lower-cased
	workerExpects bool // 6.3.0: the worker announces the objects of a message that it splits
	decays        bool // 5.12.24: indicators decay (not in 5.5.0, in 5.12.33)
	drafts        bool // 6.4.0: jobs have draft_id, requests are read with the draft's header
	liveness      bool // 6.8.7: a work without counters is dead, and its objects are dropped
	jobContext    bool // 6.8.9: mode, trigger, stix_entity, stix_objects
	merges        bool // 6.9.6: a playbook's answer is merged into what it was given
	accessChecked bool // 7.260529: no automatic job about what the connector's user may not see
	playbookType  bool // 7.260615: a playbook's job names entity_type
	labelKept     bool // 7.260807: labelAdd leaves an existing label alone
	atLeast       bool // 7.260422: complete when processed >= expected; before, when equal
	callbackJWT   bool // 7.260224: a callback is called with a token of its own; before, with the connector's
	processedEnds bool // toProcessed may complete a work (not from 7.260428 to before 7.260615)

	// When the counters of a work are deleted, from where on the work is dead.
	reportDeletes    bool // 5.3.8 to before 5.12: when a report completes it
	processedDeletes bool // before 7.260428: when toProcessed finds it complete by count
	forcingDeletes   bool // before 7.260510: when the clean-up closes it because a younger work finished
}

func rulesOf(v opencti.Version) rules {
	since := func(text string) bool {
		bound, err := opencti.ParseVersion(text)
		return err == nil && v.Compare(bound) >= 0
	}
	return rules{
		playbooks:        since("5.11.0"),
		entityType:       since("6.0.0"),
		eventID:          since("6.1.0"),
		filters:          since("6.2.0"),
		lowercases:       since("6.2.5"),
		accessChecked:    since("7.260529"),
		workerExpects:    since("6.3.0"),
		decays:           since("5.12.24"),
		drafts:           since("6.4.0"),
		liveness:         since("6.8.7"),
		jobContext:       since("6.8.9"),
		merges:           since("6.9.6"),
		playbookType:     since("7.260615"),
		labelKept:        since("7.260807"),
		atLeast:          since("7.260422"),
		callbackJWT:      since("7.260224"),
		processedEnds:    !since("7.260428") || since("7.260615"),
		reportDeletes:    since("5.3.8") && !since("5.12"),
		processedDeletes: !since("7.260428"),
		forcingDeletes:   !since("7.260510"),
	}
}
