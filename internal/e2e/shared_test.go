//go:build unix

package e2e

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// sharingReleases returns one release of each kind that works have: counted by equality, not tracked (three that differ in how
// a work ends), and counted by at least as many. With SHARED_RELEASES=all it returns those on both sides of every difference.
func sharingReleases() []string {
	if os.Getenv("SHARED_RELEASES") == "all" {
		return []string{
			"5.4.1", "5.12.33", "6.0.0", "6.2.0", "6.4.0", "6.5.7", "6.7.5", "6.8.6", "6.8.7", "6.8.10", "6.9.5", "6.9.28", "7.260318.0",
			"7.260422.0", "7.260428.0", "7.260507.0", "7.260510.0", "7.260609.0", "7.260615.0", "7.260817.0",
		}
	}
	return []string{"6.7.5", "6.9.5", "7.260318.0", "7.260428.0", "7.260817.0"}
}

// hasCallbacks reports whether a release posts jobs to a callback: from 6.5.7 on.
func hasCallbacks(t *testing.T, release string) bool {
	t.Helper()
	version, err := opencti.ParseVersion(release)
	if err != nil {
		t.Fatal(err)
	}
	return version.Capabilities().ListenCallbackURI
}

// TestJobsThatShareAWork puts 60 jobs, two of each work, through a worker with lookups of different duration, while something
// goes wrong three times: all 60 observables are enriched, and all works are complete.
func TestJobsThatShareAWork(t *testing.T) {
	t.Parallel()
	troubles := map[string]func(s *sharing){
		"nothing":          func(*sharing) {},
		"kills":            func(s *sharing) { s.thrice(s.restart) },
		"lost connections": func(s *sharing) { s.thrice(s.proxy.Cut) },
		"platform restart": func(s *sharing) {
			s.await(5)
			s.platform.SetRestarting(true)
			s.logs.Await(s.t, "OpenCTI does not answer as it should")
			s.platform.SetRestarting(false)
		},
	}
	for _, release := range sharingReleases() {
		for _, listen := range []string{"AMQP", "API"} {
			if listen == "API" && !hasCallbacks(t, release) {
				continue
			}
			for trouble, bring := range troubles {
				t.Run(fmt.Sprintf("%s/%s/%s", release, listen, trouble), func(t *testing.T) {
					t.Parallel()
					shareWorks(t, release, listen == "API", bring)
				})
			}
		}
	}
}

// sharing is a world whose jobs share works.
type sharing struct {
	*world
	proxy   *pipelinetest.FaultProxy // between the worker and the broker
	options []string
	worker  *worker
}

func shareWorks(t *testing.T, release string, callback bool, trouble func(*sharing)) {
	t.Helper()
	s := &sharing{world: newWorldOf(t, release, ipqstest.Options{Latency: 60 * time.Millisecond, LatencyJitter: 55 * time.Millisecond, Seed: 1})}
	s.throughProxy()
	s.options = append(s.options, "CONNECTOR_LOG_LEVEL=info", "WORKER_LOOKUP_CONCURRENCY=6")
	if callback {
		s.options = append(s.options, s.callback("http")...)
	}
	s.worker = s.start(s.options...)
	s.platform.ShareWorks(2)
	jobs := s.enrich(numbered(0, 60))
	if works := s.platform.Totals().Works; works != len(jobs)/2 {
		t.Fatalf("%d works of %d jobs, want two jobs to a work", works, len(jobs))
	}
	trouble(s)
	open := func(j job) bool {
		o, _ := s.platform.Observable(j.id)
		work, _ := s.platform.Work(j.work)
		return o.Score == nil || work.Status != "complete"
	}
	if err := s.platform.Wait(s.ctx, func() bool { return !slices.ContainsFunc(jobs, open) }); err != nil {
		for _, j := range jobs {
			if open(j) {
				o, _ := s.platform.Observable(j.id)
				work, _ := s.platform.Work(j.work)
				t.Errorf("%s: score %v, work %+v", j.id, o.Score, work)
			}
		}
		t.Fatalf("%+v: %v", s.platform.Totals(), err)
	}
	if status := s.worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkObjects(t, s.world, jobs)
	for _, work := range s.platform.Works() {
		if work.Status != "complete" || work.Forced || work.Dropped > 0 || work.ProcessedTimes == 0 || ownErrors(work) > 0 {
			t.Errorf("work = %+v, want it complete by itself, ended well, with nothing dropped", work)
		}
	}
	if complaints := s.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI's stand-in complains: %q", complaints)
	}
	checkSecrets(t, s.world)
}

// throughProxy makes workers reach the broker through a proxy.
func (s *sharing) throughProxy() {
	s.t.Helper()
	direct := pipelinetest.AMQPURL(s.t)
	broker, err := url.Parse(direct)
	if err != nil {
		s.t.Fatal(err)
	}
	s.proxy = pipelinetest.NewFaultProxy(s.t, broker.Host)
	through, err := url.Parse(s.proxy.Through(s.t, direct))
	if err != nil {
		s.t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(through.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.options = append(s.options, "MQ_HOST="+host, "MQ_PORT="+port)
}

// await waits until jobs of n works have ended.
func (s *sharing) await(n int) {
	s.t.Helper()
	if err := s.platform.Wait(s.ctx, func() bool { return s.platform.Totals().Ended >= n }); err != nil {
		s.t.Fatalf("waiting for %d works: %+v: %v", n, s.platform.Totals(), err)
	}
}

// thrice does something three times while the jobs go through.
func (s *sharing) thrice(do func()) {
	for _, ended := range []int{2, 8, 14} {
		s.await(ended)
		do()
	}
}

// restart kills the worker and starts another one.
func (s *sharing) restart() {
	s.worker.kill()
	s.worker = s.launch(s.options...)
}
