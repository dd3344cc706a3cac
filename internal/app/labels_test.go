package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/stages"
)

// labelMaker is a platform's labels: what comes of the n-th try.
type labelMaker struct {
	stages.Labels
	errs  []error
	tries int
}

func (l *labelMaker) EnsureLabel(context.Context, string, string) error {
	l.tries++
	return l.errs[l.tries-1]
}

// TestALabelThatMayNotBeMade: a token without the right to make labels holds no job up, and is complained of once; what may
// pass is told, and tried again.
func TestALabelThatMayNotBeMade(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		errs  []error
		fails bool // the first time
		tries int  // in two jobs
		logs  int
	}{
		{"made", []error{nil}, false, 1, 0},
		{"not allowed", []error{opencti.ErrForbidden}, false, 1, 1},
		{"refused", []error{opencti.ErrRefused}, false, 1, 1},
		{"OpenCTI down", []error{opencti.ErrUnavailable, nil}, true, 2, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			maker, log := &labelMaker{errs: tt.errs}, &bytes.Buffer{}
			l := newLabels(maker, slog.New(slog.NewTextHandler(log, nil)))
			if err := l.EnsureLabel(t.Context(), "IPQS", "#010203"); (err != nil) != tt.fails || (err != nil && !errors.Is(err, tt.errs[0])) {
				t.Errorf("EnsureLabel() = %v, want an error: %t", err, tt.fails)
			}
			if err := l.EnsureLabel(t.Context(), "IPQS", "#010203"); err != nil {
				t.Errorf("EnsureLabel() for the next job = %v", err)
			}
			if n := strings.Count(log.String(), "\n"); n != tt.logs || maker.tries != tt.tries {
				t.Errorf("%d tries and %d lines %q, want %d and %d", maker.tries, n, log, tt.tries, tt.logs)
			}
		})
	}
}
