package logtest_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"opencti-ipqs-worker/internal/logtest"
)

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Log
		log.Logger().Debug("first")
		go func() {
			<-time.After(time.Second)
			_, _ = log.Write([]byte("second, but n"))
			<-time.After(time.Second)
			_, _ = log.Write([]byte("ot whole\nthird\n"))
		}()
		if line := log.Await(t, "first"); !strings.Contains(line, "level=DEBUG msg=first") || strings.Contains(line, "\n") {
			t.Errorf("Await() = %q, want the line that is there", line)
		}
		began := time.Now()
		if line := log.Await(t, "second"); line != "second, but not whole" || time.Since(began) != 2*time.Second {
			t.Errorf("Await() = %q after %v, want the line when it is whole", line, time.Since(began))
		}
	})
}

// Many write while somebody reads; no line is torn or lost.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	const writers, lines = 8, 100
	var log logtest.Log
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range lines {
				log.Logger().Info("written", slog.String("by", "one of many"))
			}
		})
	}
	log.Await(t, "written")
	all.Wait()
	if n := log.Count(" level=INFO msg=written by=\"one of many\"\n"); n != writers*lines {
		t.Errorf("Count() = %d, want %d", n, writers*lines)
	}
	if tail := log.Tail(5); tail != "any\"\n" {
		t.Errorf("Tail(5) = %q, want the end of the last line", tail)
	}
	if tail := log.Tail(1 << 20); tail != log.String() {
		t.Errorf("Tail() of more than there is has %d bytes, want all %d", len(tail), len(log.String()))
	}
}
