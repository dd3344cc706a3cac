package standin_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/secrettest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// The run that is about money: so many jobs, of which four in ten are about what another one was about.
const (
	thrifty  = 1000
	distinct = 600
	few      = 200 // jobs where it is not about how many
)

// spender is a connector in a world, with its log and its clock.
type spender struct {
	*standin.World
	log logtest.Log
	now atomic.Pointer[time.Time] // nil is the real one
}

// spend runs so many connectors in one world, configured like this.
func spend(ctx context.Context, t *testing.T, connectors int, o ipqstest.Options, environ ...string) *spender {
	t.Helper()
	world, err := standin.New(ctx, standin.Options{IPQS: o})
	if err != nil {
		t.Fatal(err)
	}
	s := &spender{World: world}
	c, _, err := config.Load(config.Options{Environ: append(append(world.Environ(), "CONNECTOR_METRICS_PORT=0"), environ...)})
	if err != nil {
		t.Fatal(err)
	}
	level := slog.LevelInfo
	if connectors > 1 { // what fails between them is told below that
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: level}))
	running, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range connectors {
		all.Go(func() {
			err := app.Run(running, app.Options{
				Config: c, Logger: logger, Version: "test", Connect: world.Connect,
				Now: func() time.Time {
					if now := s.now.Load(); now != nil {
						return *now
					}
					return time.Now()
				},
			})
			if err != nil {
				t.Errorf("Run() = %v", err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		all.Wait()
		world.Close()
		for _, found := range secrettest.Find(map[string]string{"log": s.log.String()}, standin.Key, standin.Token) {
			t.Error(found)
		}
	})
	if err := world.Registered(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask asks for so many enrichments, of which four in ten were asked for before: some a moment, some long before.
func (s *spender) ask(ctx context.Context, t *testing.T, jobs int, trigger openctitest.Trigger) {
	t.Helper()
	n := 0
	for i := range jobs {
		which := n
		switch {
		case i%5 == 1 && n > 0:
			which = n - 1 // the one just before
		case i%5 == 3 && n > 0:
			which = (i * 7) % n
		default:
			n++
		}
		o := openctitest.Observable{Type: "Domain-Name", Value: fmt.Sprintf("host-%d.example.com", which), CreatedAt: "2026-01-02T03:04:05.678Z"}
		if which%2 == 1 {
			o.Type, o.Value = "Email-Addr", fmt.Sprintf("user-%d@example.org", which)
		}
		if _, err := s.Platform.Enrich(ctx, s.Platform.AddObservable(o), trigger); err != nil {
			t.Fatal(err)
		}
	}
	if want := jobs * distinct / thrifty; n != want {
		t.Fatalf("the test asks about %d values, want %d", n, want)
	}
}

// asked counts what IPQS was asked.
func (s *spender) asked() int {
	total := 0
	for _, n := range s.IPQS.Requests() {
		total += n
	}
	return total
}

// wait waits until there are so many questions, or so many ended works.
func (s *spender) wait(ctx context.Context, t *testing.T, what string, until func() bool) {
	t.Helper()
	for !until() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %d questions, %d works ended, log:\n%s", what, s.asked(), s.Platform.Totals().Ended, s.log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// done reports whether n works are ended, with all that they announced imported.
func (s *spender) done(n int) bool {
	totals := s.Platform.Totals()
	return totals.Ended == n && totals.Complete == n
}

// works counts the ended works, and those of them that ended in error with a message that begins like this.
func (s *spender) works(message string) (all, failed, like int) {
	for _, work := range s.Platform.Works() {
		if work.Status != "complete" || work.ProcessedTimes == 0 {
			continue
		}
		all++
		if len(work.Errors) > 0 {
			failed++
			if message != "" && strings.HasPrefix(work.Errors[0].Message, message) {
				like++
			}
		}
	}
	return all, failed, like
}

func TestWhatWasAskedIsNotAskedAgain(t *testing.T) { // alone: it is work for a whole machine
	ctx := limited(t)
	s := spend(ctx, t, 1, ipqstest.Options{Latency: 2 * time.Millisecond})
	s.ask(ctx, t, thrifty, openctitest.Auto)
	s.wait(ctx, t, "the works", func() bool { return s.done(thrifty) })
	if _, failed, _ := s.works(""); failed > 0 || s.asked() != distinct {
		t.Errorf("%d questions and %d failed works, want %d and none", s.asked(), failed, distinct)
	}
}

func TestTwoWorkersThatShareRedisAskEachThingOnce(t *testing.T) { // alone: it is work for a whole machine
	ctx := limited(t)
	redis := miniredis.RunT(t)
	s := spend(ctx, t, 2, ipqstest.Options{Latency: 5 * time.Millisecond, LatencyJitter: 5 * time.Millisecond}, "CACHE_URL=redis://"+redis.Addr())
	s.ask(ctx, t, thrifty, openctitest.Auto)
	s.wait(ctx, t, "the works", func() bool { return s.done(thrifty) })
	most := distinct
	if late := s.log.Count("an operation of Redis failed"); late > 0 { // then each asks by itself, as it should
		t.Logf("the machine is so busy that Redis did not answer %d times within its two seconds: this shows little", late)
		most = thrifty
	}
	if _, failed, _ := s.works(""); failed > 0 || s.asked() < distinct || s.asked() > most {
		t.Errorf("%d questions and %d failed works, want %d and none", s.asked(), failed, distinct)
	}
}

// With 100 credits a day, 100 are spent each day, the jobs wait in between, and in the end none is lost.
func TestJobsWaitForTheNextDaysBudget(t *testing.T) { // alone: it is work for a whole machine
	ctx := limited(t)
	s := spend(ctx, t, 1, ipqstest.Options{}, "IPQS_DAILY_BUDGET=100")
	day := time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)
	s.now.Store(&day)
	s.ask(ctx, t, thrifty, openctitest.Auto)
	for spent := 100; spent < distinct; spent += 100 {
		// Some are paid for and still on their way when the first one finds nothing left.
		s.wait(ctx, t, "a pause", func() bool { return s.log.Count("hop pauses") == spent/100 && s.asked() >= spent })
		all, failed, _ := s.works("")
		if s.asked() != spent || failed > 0 || all == thrifty {
			t.Errorf("%d questions, %d works ended, %d failed at the end of the day; want %d, some, and none", s.asked(), all, failed, spent)
		}
		if spent == 100 {
			s.isToldThatItWaits(ctx, t)
		}
		next := s.now.Load().Add(24 * time.Hour)
		s.now.Store(&next)
	}
	const jobs = thrifty + 1 // with the late one
	s.wait(ctx, t, "the works", func() bool { return s.done(jobs) })
	if all, failed, _ := s.works(""); all != jobs || failed > 0 || s.asked() != distinct {
		t.Errorf("%d questions, %d works ended, %d failed; want %d, all and none", s.asked(), all, failed, distinct)
	}
	if s.log.Count("hop=lookup reason=budget") == 0 {
		t.Errorf("the log does not name the reason:\n%s", s.log.String())
	}
}

// isToldThatItWaits asks for one more enrichment, and has its work say why it waits.
func (s *spender) isToldThatItWaits(ctx context.Context, t *testing.T) {
	t.Helper()
	late, err := s.Platform.Enrich(ctx, s.Platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: "host-0.example.com"}), openctitest.Manual)
	if err != nil {
		t.Fatal(err)
	}
	s.wait(ctx, t, "the work to say why it waits", func() bool {
		work, _ := s.Platform.Work(late)
		return slices.ContainsFunc(work.Messages, func(m openctitest.WorkMessage) bool {
			return m.Message == "IPQS: the job waits: the 100 credits that the connector may spend in a day are spent; the next day begins at 2026-03-05 05:00 UTC."
		})
	})
}

func TestJobsOverBudgetAreSkippedWhereTheyAreNotToWait(t *testing.T) { // alone: it is work for a whole machine
	ctx := limited(t)
	s := spend(ctx, t, 1, ipqstest.Options{}, "IPQS_DAILY_BUDGET=100", "IPQS_OVER_BUDGET=skip", "CONNECTOR_SKIP_AS=error")
	s.ask(ctx, t, few, openctitest.Manual)
	s.wait(ctx, t, "the works", func() bool { return s.done(few) })
	all, failed, said := s.works("The 100 credits that the connector may spend in a day are spent; the next day begins at ")
	if s.asked() != 100 || all != few || failed != said || said == 0 || all-failed < 100 {
		t.Errorf("%d questions, %d works ended, %d in error, %d of them for the budget; want 100, all, and each error for it",
			s.asked(), all, failed, said)
	}
	for _, work := range s.Platform.Works() {
		if len(work.Errors) > 0 && !strings.HasSuffix(work.Errors[0].Message, "Nothing was changed; skipped (budget). ("+work.EntityID+")") {
			t.Errorf("a work ends with %q, want it to say that nothing was changed and why", work.Errors[0].Message)
			break
		}
	}
}

func TestTheAccountKeepsItsReserve(t *testing.T) { // alone: it is work for a whole machine
	ctx := limited(t)
	s := spend(ctx, t, 1, ipqstest.Options{Key: standin.Key, Credits: 150}, "IPQS_CREDIT_RESERVE=50", "IPQS_OVER_BUDGET=skip",
		"CONNECTOR_SKIP_AS=error")
	s.wait(ctx, t, "a look at the account", func() bool { return s.asked() == 1 })
	s.ask(ctx, t, few, openctitest.Manual)
	s.wait(ctx, t, "the works", func() bool { return s.done(few) })
	_, failed, said := s.works("The IPQS account has 50 credits left, and the connector is to leave it 50. Nothing was changed; skipped (credits).")
	if s.IPQS.Credits() != 50 || failed != said || said == 0 {
		t.Errorf("%d credits left, %d works in error, %d of them for the reserve; want 50, and all for it", s.IPQS.Credits(), failed, said)
	}
}

// OpenCTI may send an entity as often as somebody writes it. That is no reason to ask again so soon.
func TestAnEntityIsNotEnrichedAgainByItselfForAWhile(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := spend(ctx, t, 1, ipqstest.Options{}, "IPQS_REENRICH_INTERVAL=1h")
	id := s.Platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: "host.example.com"})
	for i, tt := range []struct {
		trigger openctitest.Trigger
		want    string
	}{
		{openctitest.Auto, "IPQS: HIGH, score "},
		{openctitest.Auto, "Already enriched 0s ago. Nothing was changed; skipped (recent)."},
		{openctitest.Manual, "IPQS: HIGH, score "},
		{openctitest.Auto, "Already enriched "},
	} {
		work, err := s.Platform.Enrich(ctx, id, tt.trigger)
		if err != nil {
			t.Fatal(err)
		}
		s.wait(ctx, t, "a work", func() bool { return s.done(i + 1) })
		got, _ := s.Platform.Work(work)
		if last := got.Messages[len(got.Messages)-1].Message; !strings.HasPrefix(last, tt.want) || len(got.Errors) > 0 {
			t.Errorf("a job of trigger %s ends with %q and errors %v, want %q", tt.trigger, last, got.Errors, tt.want)
		}
	}
	if s.asked() != 1 {
		t.Errorf("IPQS was asked %d times, want once", s.asked())
	}
}
