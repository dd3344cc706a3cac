package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"time"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/credit"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/rediscache"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// risks is IPQS, and all that stands around asking it. Close it.
type risks struct {
	*credit.Keeper
	breaker *ipqs.Breaker
	client  *ipqs.Client
	recents stages.Recents    // nil unless the operator wants it
	watch   *credit.Watch     // of the account; nil unless the operator wants it
	redis   *rediscache.Redis // nil unless there is one
}

// newRisks builds what stands around a call to IPQS, outermost first: what keeps credits, the breaker, then the client. opened
// is called whenever the breaker opens, and observe for each question.
func newRisks(o Options, opened func(), observe func(context.Context, credit.Observation)) (*risks, error) {
	o = o.withDefaults()
	c, logger := o.Config, o.Logger
	if err := proxies(); err != nil {
		return nil, fmt.Errorf("making the IPQS client: %w", err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone() // proxies by the usual variables
	base.MaxIdleConnsPerHost = max(c.Worker.LookupConcurrency, ipqs.DefaultMaxIdleConns)
	transport, err := telling(o, base, "ipqs", lookupCall(c.IPQS))
	if err != nil {
		return nil, fmt.Errorf("making the IPQS client: %w", err)
	}
	options := ipqs.Options{
		HTTPClient: &http.Client{Transport: transport},

		BaseURL:   c.IPQS.BaseURL,
		Key:       c.IPQS.PrivateKey.Reveal(),
		UserAgent: userAgent(o.Version),

		Parameters:   parameters(c.IPQS),
		PersonalData: c.IPQS.IncludePersonalData,
	}
	client, err := ipqs.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("making the IPQS client: %w", err)
	}
	r := &risks{client: client}
	r.breaker = ipqs.NewBreaker(client, ipqs.BreakerOptions{
		OnChange: func(from, to ipqs.State) {
			if to == ipqs.StateOpen {
				opened()
			}
			logBreaker(logger, from, to, r.breaker.LastFailure())
		},
	})
	keep := credit.Options{
		Key:      options.Key,
		Store:    credit.NewMemory(c.Credits.CacheSize),
		Life:     lives(c.Credits.CacheTTL),
		Refusals: c.Credits.NegativeTTL,
		Fingerprint: func(kind ipqs.Kind) string {
			return fmt.Sprintf("%s %t", options.Parameters.Of(kind).Encode(), options.PersonalData)
		},
		Timeout:      options.Parameters.Timeout,
		Concurrency:  c.Worker.LookupConcurrency,
		Ledger:       credit.NewLedger(),
		DailyBudget:  c.Credits.DailyBudget,
		RetryReserve: c.Credits.AccountInterval,
		Now:          o.Now,
		Observe:      observe,
	}
	if limit := float64(c.Credits.RateLimit); limit > 0 {
		keep.Pacer = credit.NewPacer(limit / float64(max(c.Credits.RateShare, 1)))
	}
	if !c.Cache.URL.IsZero() {
		if err := r.share(c, &keep, logger); err != nil {
			return nil, err
		}
	} else if budget := c.Credits.DailyBudget; budget > 0 {
		keep.BudgetParts = max(c.Credits.RateShare, 1)
		logger.Info("this process counts the credits of its part of IPQS_DAILY_BUDGET alone, from zero: CACHE_URL would have the budget "+
			"shared and kept", slog.Int("credits", budget/keep.BudgetParts), slog.Int("processes", keep.BudgetParts))
	}
	if reserve := c.Credits.Reserve; reserve != nil {
		keep.Reserve = *reserve
		// Nothing tells of these requests, for their addresses hold the key.
		options.HTTPClient = &http.Client{Transport: base}
		client, err := ipqs.NewClient(options)
		if err != nil {
			return nil, fmt.Errorf("making the client for the IPQS account: %w", err)
		}
		r.watch = &credit.Watch{Account: client, Ledger: keep.Ledger, Every: c.Credits.AccountInterval, Logger: logger}
	}
	if c.Credits.ReenrichInterval > 0 {
		r.recents = credit.Recents{Store: keep.Store, Key: options.Key, Interval: c.Credits.ReenrichInterval}
	}
	r.Keeper = credit.New(r.breaker, keep)
	return r, nil
}

// logBreaker warns once when IPQS begins to fail and tells once when it is back. What lies between, probe after probe, is for
// who debugs: an outage of an hour would be a hundred lines.
func logBreaker(logger *slog.Logger, from, to ipqs.State, lastFailure string) {
	switch {
	case from == ipqs.StateClosed:
		logger.Warn("IPQS fails: the circuit breaker around it is open, and jobs wait until a probe succeeds",
			slog.String("last_failure", lastFailure))
	case to == ipqs.StateClosed:
		logger.Info("IPQS works again: the circuit breaker around it is closed")
	default:
		logger.Debug("circuit breaker around IPQS", slog.String("from", string(from)), slog.String("to", string(to)),
			slog.String("last_failure", lastFailure))
	}
}

// share puts Redis where several processes meet.
func (r *risks) share(c config.Config, keep *credit.Options, logger *slog.Logger) error {
	redis, err := rediscache.Open(rediscache.Options{
		URL: c.Cache.URL.Reveal(), Account: keep.Key, Local: keep.Store, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("CACHE_URL: %w", err)
	}
	r.redis, keep.Store, keep.Ledger = redis, redis, rediscache.NewLedger(redis, c.Credits.RateShare)
	if keep.Pacer != nil {
		keep.Pacer = rediscache.NewPacer(redis, float64(c.Credits.RateLimit), keep.Pacer)
	}
	return nil
}

// lives says for how long answers of each kind are kept.
func lives(ttl map[string]time.Duration) map[ipqs.Kind]time.Duration {
	return map[ipqs.Kind]time.Duration{
		ipqs.KindIP: ttl["ip"], ipqs.KindEmail: ttl["email"], ipqs.KindPhone: ttl["phone"], ipqs.KindURL: ttl["url"],
		ipqs.KindLeakEmail: ttl["leak"], ipqs.KindLeakUsername: ttl["leak"], ipqs.KindLeakPassword: ttl["leak"],
	}
}

// run watches the account and Redis, where they are wanted, until ctx ends.
func (r *risks) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	if r.redis != nil {
		watching.Go(func() { r.redis.Watch(ctx) })
	}
	if r.watch == nil {
		return nil
	}
	return r.watch.Run(ctx)
}

// close ends what nobody waits for any more.
func (r *risks) close() {
	r.Close()
	r.client.CloseIdleConnections()
	if r.redis != nil {
		_ = r.redis.Close() // nothing is lost with it
	}
}

// ready returns nil while IPQS is asked.
func (r *risks) ready() error {
	if state := r.breaker.State(); state != ipqs.StateClosed {
		return fmt.Errorf("circuit breaker is %s; last failure: %s", state, r.breaker.LastFailure())
	}
	if why := r.Budget().Over(); why != "" {
		return errors.New(why)
	}
	return nil
}

// inHand is how many jobs the lookup hop has in hand: those that ask, and half as many in line, so that the next is there
// when one has its answer and an urgent one finds others to overtake. A slow pace lets fewer wait: no longer than a question
// waits in line.
func inHand(c config.Config) int {
	n := c.Worker.LookupConcurrency + (c.Worker.LookupConcurrency+1)/2
	if limit := c.Credits.RateLimit; limit > 0 {
		const longest = 20 // seconds
		n = min(n, max(1, int(math.Ceil(longest*float64(limit)/float64(cmp.Or(c.Credits.RateShare, 1))))))
	}
	return n
}

// frank are works that are told when they are received and have to wait.
type frank struct {
	pipeline.Works
	why func() string // a job waits, or ""
}

// Received tells that the work is received, and why it waits if it does.
func (f frank) Received(ctx context.Context, job opencti.WorkJob, message string) error {
	if why := f.why(); why != "" {
		message = "IPQS: the job waits: " + why + "."
	}
	return f.Works.Received(ctx, job, message)
}
