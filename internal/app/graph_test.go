package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

// countryReader answers with a list, and counts how often it is asked.
type countryReader struct {
	list  []opencti.Country
	err   error
	asked int
}

func (r *countryReader) Countries(context.Context) ([]opencti.Country, error) {
	r.asked++
	return r.list, r.err
}

// TestCountries: a country is found by its code, else by its name, and the list is read once an hour.
func TestCountries(t *testing.T) {
	t.Parallel()
	reader := &countryReader{list: []opencti.Country{
		{StandardID: "location--1", Name: "Russian Federation", Aliases: []string{"RU", "RUS"}},
		{StandardID: "location--2", Name: "Switzerland"},
		{StandardID: "location--3", Name: "Germany", Aliases: []string{"de"}},
	}}
	now := time.Date(2026, time.March, 4, 0, 0, 0, 0, time.UTC)
	c := &countries{client: reader, logger: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	for _, tt := range []struct{ code, name, want string }{
		{"RU", "Russia", "location--1"}, {"CH", "switzerland", "location--2"}, {"DE", "Germany", "location--3"}, {"FR", "France", ""},
	} {
		got, ok, err := c.Country(t.Context(), tt.code, tt.name)
		if err != nil || ok != (tt.want != "") || got.StandardID != tt.want {
			t.Errorf("Country(%s) = %+v, %v, %v, want %q", tt.code, got, ok, err, tt.want)
		}
	}
	if reader.asked != 1 {
		t.Errorf("the list was read %d times, want once", reader.asked)
	}
	now = now.Add(time.Hour)
	if _, _, err := c.Country(t.Context(), "RU", "Russia"); err != nil || reader.asked != 2 {
		t.Errorf("an hour later it was read %d times (%v), want twice", reader.asked, err)
	}
}

// TestCountries_failure: without the right to read countries there are none; a failure that may pass is told, and asked again.
func TestCountries_failure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err   error
		fails bool
		asked int // by two jobs
		logs  int
	}{{opencti.ErrForbidden, false, 1, 1}, {opencti.ErrUnavailable, true, 2, 0}} {
		reader, log := &countryReader{err: tt.err}, &bytes.Buffer{}
		c := &countries{client: reader, logger: slog.New(slog.NewTextHandler(log, nil)), now: time.Now}
		for range 2 {
			if _, ok, err := c.Country(t.Context(), "RU", "Russia"); ok || (err != nil) != tt.fails {
				t.Errorf("%v: Country() = %v, %v, want none, and an error: %v", tt.err, ok, err, tt.fails)
			}
		}
		if n := strings.Count(log.String(), "\n"); reader.asked != tt.asked || n != tt.logs {
			t.Errorf("%v: asked %d times, %d lines logged, want %d and %d", tt.err, reader.asked, n, tt.asked, tt.logs)
		}
	}
}

type patcher struct{ err error }

func (p patcher) PatchIndicator(context.Context, string, opencti.IndicatorPatch, string) error {
	return p.err
}

// TestIndicators: an edit that OpenCTI refuses is logged and holds no job up; one that may pass is tried again.
func TestIndicators(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err   error
		fails bool
	}{
		{nil, false}, {opencti.ErrForbidden, false}, {opencti.ErrRefused, false}, {opencti.ErrNotFound, false}, {opencti.ErrUnavailable, true},
	} {
		log := &bytes.Buffer{}
		i := indicators{patcher{tt.err}, slog.New(slog.NewTextHandler(log, nil))}
		err := i.PatchIndicator(t.Context(), "indicator--1", opencti.IndicatorPatch{Revoke: true}, "")
		if tt.fails != errors.Is(err, opencti.ErrUnavailable) || (log.Len() > 0) != (tt.err != nil && !tt.fails) {
			t.Errorf("%v: PatchIndicator() = %v, log %q", tt.err, err, log)
		}
	}
}
