package credit

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// AccountReader reads how many credits the account has left.
type AccountReader interface {
	Account(ctx context.Context) (ipqs.Account, error)
}

// Watch reads the account at once and then every so often, until ctx ends, and notes in the ledger how many credits it has
// left. Of several processes that share the ledger, one reads.
type Watch struct {
	Account AccountReader
	Ledger  Ledger
	Every   time.Duration
	Logger  *slog.Logger

	failed bool
}

// Run returns nil when ctx has ended.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.Every)
	defer ticker.Stop()
	for {
		w.Read(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Read reads the account once, if it is this process' turn. That it can't be read is logged when it begins, and changes
// nothing: what was read before goes on to be counted down.
func (w *Watch) Read(ctx context.Context) {
	// A little less, so that a turn is over when the ticker of whoever had it ticks again.
	if !w.Ledger.Turn(ctx, w.Every-w.Every/10) {
		return
	}
	account, err := w.Account.Account(ctx)
	left, known := account.Credits.Int()
	switch {
	case err == nil && known:
		if w.failed {
			w.Logger.InfoContext(ctx, "the IPQS account can be read again", slog.Int("credits", left))
		}
		w.failed = false
		w.Ledger.SetLeft(ctx, left)
		return
	case ctx.Err() != nil:
		return
	case err == nil:
		err = errors.New("the answer names no credits")
	}
	if !w.failed {
		w.Logger.WarnContext(ctx, "the IPQS account cannot be read; as long as that is so, its credits are counted from what was read before",
			slog.Any("error", err))
	}
	w.failed = true
}
