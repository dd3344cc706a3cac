package app

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/stages"
)

// indicators changes indicators, and goes on where OpenCTI refuses that.
type indicators struct {
	client stages.Indicators
	logger *slog.Logger
}

// PatchIndicator changes an indicator. A missing right, or an indicator that was deleted meanwhile, does not fail the job.
func (i indicators) PatchIndicator(ctx context.Context, id string, patch opencti.IndicatorPatch, draftID string) error {
	err := i.client.PatchIndicator(ctx, id, patch, draftID)
	if notOurs(err) {
		i.logger.WarnContext(ctx, "OpenCTI refused to change an indicator", slog.String("id", id), slog.Any("error", err))
		return nil
	}
	return err
}

// countriesAge is how long the list of countries is kept.
const countriesAge = time.Hour

// countryList reads the countries of a platform.
type countryList interface {
	Countries(ctx context.Context) ([]opencti.Country, error)
}

// countries finds countries in a list that is read once an hour.
type countries struct {
	client countryList
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	list   []opencti.Country
	readAt time.Time
}

// Country finds a country by its code of two letters, which OpenCTI's data set has among the aliases, else by its name. A
// missing right to read countries is as if there were none.
func (c *countries) Country(ctx context.Context, code, name string) (opencti.Country, bool, error) {
	list, err := c.all(ctx)
	if err != nil {
		return opencti.Country{}, false, err
	}
	by := func(matches func(opencti.Country) bool) (opencti.Country, bool) {
		if i := slices.IndexFunc(list, matches); i >= 0 {
			return list[i], true
		}
		return opencti.Country{}, false
	}
	country, ok := by(func(known opencti.Country) bool {
		return slices.ContainsFunc(known.Aliases, func(alias string) bool { return strings.EqualFold(alias, code) })
	})
	if !ok {
		country, ok = by(func(known opencti.Country) bool { return strings.EqualFold(known.Name, name) })
	}
	return country, ok, nil
}

func (c *countries) all(ctx context.Context) ([]opencti.Country, error) {
	c.mu.Lock()
	list, fresh := c.list, !c.readAt.IsZero() && c.now().Sub(c.readAt) < countriesAge
	c.mu.Unlock()
	if fresh {
		return list, nil
	}
	// Not under the lock: reading the list twice is harmless.
	list, err := c.client.Countries(ctx)
	if notOurs(err) {
		c.logger.WarnContext(ctx, "OpenCTI does not show its countries", slog.Any("error", err))
		list, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list, c.readAt = list, c.now()
	return list, nil
}
