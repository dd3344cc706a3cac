package opencti

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// Works tells the platform how its works go, as its release wants to be told. Every method does nothing when the work's id
// is empty: a playbook's job has no work. A work that the platform has deleted meanwhile is no error either: there is
// nobody left to tell.
type Works struct {
	client *Client
	whole  bool // results are handed over with [Client.PushBundle]
}

// NewWorks returns the works of the client's platform, for a connector that publishes each object by itself.
func NewWorks(c *Client) *Works { return &Works{client: c} }

// NewWholeWorks returns the works of the client's platform, for a connector that hands over whole bundles
// ([Client.PushBundle]). Where works must not carry their id ([Capabilities].Tracked), the platform makes a work of its own
// for each bundle and counts its objects. A report on a younger work would have the clean-up close that one, and drop its
// objects. So nothing is reported there on the works of jobs: from 7.260428 to before 7.260510, where toProcessed ends no
// work, they have their message and stay open until the clean-up closes them, within a minute of the import of a later bundle.
func NewWholeWorks(c *Client) *Works { return &Works{client: c, whole: true} }

// closes reports whether a work that expects nothing has to be closed by a report, and may be.
func (w *Works) closes(has Capabilities) bool { return has.CloseByReport && (has.Tracked || !w.whole) }

// WorkState is what [Works.Announce] found.
type WorkState struct {
	// Tracked: the messages of this work have to carry its id.
	Tracked bool
	// Ended: an earlier delivery of the job has published everything and said so; there is nothing to do.
	Ended bool
}

// Received tells that the job is in hand. Saying it again is harmless.
func (w *Works) Received(ctx context.Context, workID, message string) error {
	if workID == "" {
		return nil
	}
	_, err := w.tell(ctx, opWorkReceived, map[string]any{"id": workID, "message": message})
	return err
}

// Announce tells that n objects will be published, and has to return before the first of them is. again says that the job
// may have been here before: a redelivery, a replay, or another attempt after anything from Announce on went wrong. Then
// the work is read first and only what is missing is added, so that no expectation is counted twice.
//
// On releases that must not count ([Capabilities].Tracked) it asks nothing and returns the zero WorkState, as it does for a
// deleted work: the objects are published without the work's id then.
func (w *Works) Announce(ctx context.Context, workID string, n int, again bool) (WorkState, error) {
	if workID == "" {
		return WorkState{}, nil
	}
	has, err := w.client.Capabilities(ctx)
	if err != nil || !has.Tracked {
		return WorkState{}, err
	}
	if again {
		found, err := w.read(ctx, workID)
		switch {
		case errors.Is(err, ErrForbidden):
			// Without the right to read works it is safer to count too little (the work closes early, its objects are
			// imported all the same) than to count twice (it never closes).
			w.client.log.WarnContext(ctx, "the connector's user may not read works, not announcing a repeated job again",
				slog.Any("error", err))
			return WorkState{Tracked: true}, nil
		case err != nil || found == nil:
			return WorkState{}, err
		case found.endedByUs() && found.Tracking.Expected > n && found.Tracking.Processed < found.Tracking.Expected:
			// Announced twice, by copies of the job that did not know of each other, and ended by the other one: this one has to
			// bring what it announced, or the work would wait for it for ever.
			return WorkState{Tracked: true}, nil
		case found.endedByUs():
			return WorkState{Tracked: true, Ended: true}, w.closeAgain(ctx, workID, found, has)
		case found.ProcessedTime == nil:
			n -= found.Tracking.Expected
		case found.Tracking.Processed < found.Tracking.Expected:
			n = 0
		default:
			// Ended in error, which settled whatever had been announced: this is another go, with nothing of it announced yet. What
			// was imported beyond that, because it came twice or late, is taken in, or the counts would never meet.
			n += found.Tracking.Processed - found.Tracking.Expected
		}
	}
	if n > 0 {
		if gone, err := w.tell(ctx, opWorkExpect, map[string]any{"id": workID, "expectations": n}); err != nil || gone {
			return WorkState{}, err
		}
	}
	return WorkState{Tracked: true}, nil
}

// Processed ends the work's job: everything is published, or there was nothing to publish. The platform shows the work as
// complete when it has imported what was announced. again is as for Announce: then the work is read first, and one that
// another delivery of the job has ended meanwhile is not ended twice.
func (w *Works) Processed(ctx context.Context, workID, message string, again bool) error {
	if again && workID != "" {
		has, err := w.client.Capabilities(ctx)
		if err != nil {
			return err
		}
		found, err := w.read(ctx, workID)
		switch {
		case errors.Is(err, ErrForbidden):
		case err != nil || found == nil:
			return err
		case !found.endedByUs():
		case found.Status == "complete" || found.Tracking.Processed < found.Tracking.Expected:
			return nil // is complete, or will be with the last object
		case has.Tracked && !has.AtLeast:
			return w.closeAgain(ctx, workID, found, has)
		case has.CloseByReport && !w.closes(has):
			return nil // will be closed by the clean-up
		}
	}
	return w.end(ctx, workID, message, false, false)
}

// Nothing ends the work's job well, but without anything to import. What is open then was announced to close the work, by
// an earlier try of this, and nobody else will report it.
func (w *Works) Nothing(ctx context.Context, workID, message string) error {
	return w.end(ctx, workID, message, false, true)
}

// Failed ends the work's job in error. What was announced and is not imported by then is reported as done, for it may never
// have been published and nobody else would close the work.
func (w *Works) Failed(ctx context.Context, workID, message string) error {
	return w.end(ctx, workID, message, true, true)
}

// end tells that the job is over. nothing says that no importer will report what is still open.
func (w *Works) end(ctx context.Context, workID, message string, inError, nothing bool) error {
	if workID == "" {
		return nil
	}
	has, err := w.client.Capabilities(ctx)
	if err != nil {
		return err
	}
	// Settled first: after an error the caller ends the work again, and settling reads where it stands while toProcessed
	// would leave its message twice.
	if w.closes(has) || inError {
		told, err := w.settle(ctx, workID, message, has, nothing)
		if err != nil || told && inError {
			return err
		}
	}
	_, err = w.tell(ctx, opWorkProcessed, map[string]any{"id": workID, "message": message, "inError": inError})
	return err
}

// settle reports what nobody else will. Where toProcessed does not end a work that expects nothing, one expectation is added
// and reported. told says that the work is over and has this very message as an error: an earlier delivery of the job left it,
// and died before its own end.
func (w *Works) settle(ctx context.Context, workID, message string, has Capabilities, nothing bool) (told bool, err error) {
	found, err := w.read(ctx, workID)
	switch {
	case errors.Is(err, ErrForbidden), err == nil && found == nil:
		return false, nil
	case err != nil:
		return false, err
	case found.Status == "complete", has.CloseByReport && !w.closes(has): // toProcessed changes nothing but the messages
		return found.failedWith(message), nil
	case !has.CloseByReport && !has.Tracked:
		return false, nil // toProcessed ends it
	}
	open := found.Tracking.Expected - found.Tracking.Processed
	switch {
	case open > 0 && has.Tracked && !nothing:
		return false, nil // the platform's worker is still importing, and its last report ends the work
	case open > 0:
		return false, w.report(ctx, workID, open)
	case w.closes(has):
		return false, w.reportOneMore(ctx, workID)
	default:
		return false, nil // toProcessed ends it
	}
}

// cameAgain is the line in a work that only toProcessed closes.
const cameAgain = "The job came once more, and was done before."

// CloseAgain closes a work that ended, well or in error, and that a copy of its job has opened again by saying received once
// more. A work that is closed, or will be with the last of its imports, is left alone.
func (w *Works) CloseAgain(ctx context.Context, workID string) error {
	if workID == "" {
		return nil
	}
	has, err := w.client.Capabilities(ctx)
	if err != nil {
		return err
	}
	if has.CloseByReport && !w.closes(has) {
		return nil // the clean-up closes it
	}
	found, err := w.read(ctx, workID)
	switch {
	case errors.Is(err, ErrForbidden):
		return w.compareAgain(ctx, workID, has)
	case err != nil || found == nil || found.ProcessedTime == nil:
		return err
	default:
		return w.closeAgain(ctx, workID, found, has)
	}
}

// closeAgain closes a work that ended before and that a redelivered job has reopened by saying received once more. What fails
// half-way can be done again: no step makes the work look like one that is still imported.
func (w *Works) closeAgain(ctx context.Context, workID string, found *work, has Capabilities) error {
	expected, processed := found.Tracking.Expected, found.Tracking.Processed
	if found.Status == "complete" || processed < expected {
		return nil
	}
	if has.Tracked && !has.AtLeast { // both have to be the same, and not zero
		if processed == 0 {
			if err := w.report(ctx, workID, 1); err != nil {
				return err
			}
			processed = 1
		}
		if more := processed - expected; more > 0 {
			if gone, err := w.tell(ctx, opWorkExpect, map[string]any{"id": workID, "expectations": more}); err != nil || gone {
				return err
			}
		}
	}
	return w.compareAgain(ctx, workID, has)
}

// compareAgain has the platform look once more whether a work is complete that expects nothing of us.
func (w *Works) compareAgain(ctx context.Context, workID string, has Capabilities) error {
	if has.AtLeast && (has.Tracked || has.CloseByReport) {
		return w.report(ctx, workID, 1)
	}
	_, err := w.tell(ctx, opWorkProcessed, map[string]any{"id": workID, "message": cameAgain, "inError": false})
	return err
}

// reportOneMore adds an expectation and reports it, which makes the platform look whether the work is complete.
func (w *Works) reportOneMore(ctx context.Context, workID string) error {
	if gone, err := w.tell(ctx, opWorkExpect, map[string]any{"id": workID, "expectations": 1}); err != nil || gone {
		return err
	}
	return w.report(ctx, workID, 1)
}

func (w *Works) report(ctx context.Context, workID string, times int) error {
	for range times {
		if gone, err := w.tell(ctx, opWorkReport, map[string]any{"id": workID}); err != nil || gone {
			return err
		}
	}
	return nil
}

// work is a work as the platform keeps it. Tracking is zero when the counters are gone or were never made.
type work struct {
	Status        string  `json:"status"`
	ProcessedTime *string `json:"processed_time"`
	Tracking      struct {
		Expected  int `json:"import_expected_number"`
		Processed int `json:"import_processed_number"`
	} `json:"tracking"`
	Errors []struct {
		Message *string `json:"message"`
		Source  *string `json:"source"`
	} `json:"errors"`
}

// failedWith reports whether we ended the work in error, with this message.
func (w *work) failedWith(message string) bool {
	if w.ProcessedTime == nil {
		return false
	}
	for _, e := range w.Errors {
		if e.Message != nil && *e.Message == message && (e.Source == nil || *e.Source == "") {
			return true
		}
	}
	return false
}

// endedByUs reports whether an earlier delivery ended the job well. Only toProcessed sets the time. An error without a
// source is one that we left, for the worker always names the object: such a work was ended in error and is done again.
func (w *work) endedByUs() bool {
	if w.ProcessedTime == nil {
		return false
	}
	for _, e := range w.Errors {
		if e.Source == nil || *e.Source == "" {
			return false
		}
	}
	return true
}

// read returns the work, or nil when the platform no longer has it.
func (w *Works) read(ctx context.Context, workID string) (*work, error) {
	var answer struct {
		Work *work `json:"work"`
	}
	err := w.client.do(ctx, opWork, map[string]any{"id": workID}, "", &answer)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return answer.Work, err
}

// tell sends one mutation of a work. The platform has no code for a deleted work, it stumbles over the missing record: on
// an error the record is asked for, and when it is gone there is nobody to tell and no error.
func (w *Works) tell(ctx context.Context, op operation, variables map[string]any) (gone bool, err error) {
	err = w.client.do(ctx, op, variables, "", &struct{}{})
	refusal, ok := errors.AsType[*Error](err)
	if !ok || refusal.Status != http.StatusOK || errors.Is(err, ErrAuth) || errors.Is(err, ErrForbidden) {
		return false, err
	}
	if errors.Is(err, ErrWorkNotAlive) || errors.Is(err, ErrNotFound) {
		return true, nil
	}
	workID, _ := variables["id"].(string)
	if found, readErr := w.read(ctx, workID); readErr == nil && found == nil {
		return true, nil
	}
	return false, err
}
