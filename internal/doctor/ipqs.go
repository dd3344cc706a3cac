package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/rediscache"
	"opencti-ipqs-worker/ipqs"
)

// ipqs reads the account, which costs nothing.
func (e *examination) ipqs(ctx context.Context) {
	ctx, cancel := e.within(ctx)
	defer cancel()
	address := e.config.IPQS.BaseURL
	elsewhere := e.config.IPQS.Elsewhere() != ""
	if elsewhere {
		e.warn(checkIPQS, "IPQS_BASE_URL="+address+" is not IPQualityScore's own address: the API key and all that is looked up go there",
			"leave IPQS_BASE_URL unset, unless that is meant")
	}
	account, err := e.ways.Account.Account(ctx)
	if err != nil {
		e.fail(checkIPQS, "asking "+address+": "+err.Error(), accountRemedy(err, elsewhere))
		return
	}
	accepted := "the key is accepted at " + address
	left, known := account.Credits.Int()
	reserve := e.config.Credits.Reserve
	switch {
	case !known:
		e.warn(checkIPQS, accepted+"; the account does not say how many credits it has", "")
	case reserve != nil && left <= *reserve && *reserve > 0:
		e.fail(checkIPQS, fmt.Sprintf("%s; %d credits are left, and IPQS_CREDIT_RESERVE=%d holds them: jobs wait", accepted, left, *reserve),
			"top the account up, or lower IPQS_CREDIT_RESERVE")
	case left <= 0:
		e.warn(checkIPQS, accepted+"; no credits are left, as the account says, and lookups are refused. A plan that does not count credits may say so too",
			"top the account up at IPQualityScore, or wait until its credits are renewed")
	default:
		e.ok(checkIPQS, fmt.Sprintf("%s, %d credits are left; none was spent", accepted, left))
	}
}

func accountRemedy(err error, elsewhere bool) string {
	switch {
	case errors.Is(err, ipqs.ErrKey) && elsewhere:
		return "is it IPQualityScore that is to be asked? Then leave IPQS_BASE_URL unset; else set IPQS_PRIVATE_KEY to the key that is accepted there"
	case errors.Is(err, ipqs.ErrKey):
		return "set IPQS_PRIVATE_KEY to the API key of the account, from IPQualityScore's settings"
	case errors.Is(err, ipqs.ErrCredits):
		return "top the account up at IPQualityScore"
	case errors.Is(err, ipqs.ErrQuota):
		return "wait for IPQS' next day, which begins at midnight in New York, or take a larger plan"
	case errors.Is(err, ipqs.ErrThrottled):
		return "others ask too much with this key: try again, and see IPQS_RATE_LIMIT"
	case errors.Is(err, ipqs.ErrMalformed):
		return "is IPQS_BASE_URL IPQualityScore's address, https://www.ipqualityscore.com/api/json?"
	}
	return "can this machine reach IPQualityScore? Look at IPQS_BASE_URL, HTTPS_PROXY, the firewall"
}

// cache asks the Redis that processes share whether it is there.
func (e *examination) cache(ctx context.Context) {
	if e.config.Cache.URL.IsZero() {
		return
	}
	ctx, cancel := e.within(ctx)
	defer cancel()
	err := rediscache.Ping(ctx, e.config.Cache.URL.Reveal())
	if err == nil {
		e.ok(checkCache, "it answers")
		return
	}
	remedy := wayRemedy(err, "CACHE_URL")
	if _, refused := errors.AsType[redis.Error](err); refused {
		remedy = "correct user, password or database in CACHE_URL"
	}
	e.warn(checkCache, "it cannot be used, and until it can every process keeps answers, credits and pace for itself: "+err.Error(), remedy)
}

// reading is how far a peer's clock is ahead of ours.
type reading struct {
	peer  string
	ahead time.Duration
}

// From when on a difference is told: HTTP tells the time in whole seconds, and an answer takes its time. A minute is what
// signed tokens are commonly allowed.
const (
	warnSkew = 5 * time.Second
	failSkew = time.Minute
)

// clock compares what the answers said the time is.
func (e *examination) clock() {
	e.mu.Lock()
	defer e.mu.Unlock()
	worst := map[string]time.Duration{}
	for _, r := range e.clocks {
		if known, ok := worst[r.peer]; !ok || r.ahead.Abs() < known.Abs() { // the least is the one that waited least
			worst[r.peer] = r.ahead
		}
	}
	names := map[string]string{app.PeerOpenCTI: "OpenCTI", app.PeerIPQS: "IPQS"}
	told := false
	for _, peer := range []string{app.PeerOpenCTI, app.PeerIPQS} {
		ahead, known := worst[peer]
		if !known || ahead.Abs() < warnSkew {
			continue
		}
		told = true
		status := Warn
		if ahead.Abs() >= failSkew {
			status = Fail
		}
		direction := "behind"
		if ahead < 0 {
			direction = "ahead of"
		}
		e.add(Finding{
			checkClock, status,
			fmt.Sprintf("this machine's clock is %v %s that of %s: ages, waits and tokens are wrong by as much", ahead.Abs().Round(time.Second), direction, names[peer]),
			"set both clocks by NTP",
		})
	}
	switch {
	case len(worst) == 0:
		e.skip(checkClock, "nobody answered who says what time it is")
	case !told:
		e.ok(checkClock, "it agrees with those of who answered")
	}
}
