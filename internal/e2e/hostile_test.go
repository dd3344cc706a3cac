//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// Strangers' messages end in the poison queue as they came, two of 50 MB among them, the consumer lives on, and its memory
// stays small.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	url := pipelinetest.AMQPURL(t)
	n := 2000
	if os.Getenv("CHAOS_JOBS") != "" {
		n = 10_000
	}
	w := newWorld(t, ipqstest.Options{})
	worker := w.start("CONNECTOR_LOG_LEVEL=error", "OTEL_SDK_DISABLED=true")
	channel := dial(t, url)
	if err := channel.Confirm(false); err != nil {
		t.Fatal(err)
	}
	listen := "e2e-" + w.connector[:8] + "_listen_" + w.connector
	dice := rand.New(rand.NewPCG(3, 4))
	sent := make(map[string]int, n)
	var last *amqp.DeferredConfirmation
	for i := range n {
		body := hostile(dice, i)
		switch i {
		case n / 4: // read, but for what is not used, and about nothing that OpenCTI knows: it is skipped
			body = fmt.Appendf(nil, `{"internal":{"work_id":"w"},"event":{"stix_entity":%q,"entity_id":"nobody"}}`, strings.Repeat("x", 8<<20))
		case n / 3:
			body = bytes.Repeat([]byte("["), 50<<20)
		case n / 2: // well-formed, and its id would be one of the letter's headers
			body = fmt.Appendf(nil, `{"internal":{"work_id":"w"},"event":{"entity_id":%q}}`, strings.Repeat("x", 50<<20))
		}
		if i != n/4 {
			sent[string(body)]++
		}
		confirm, err := channel.PublishWithDeferredConfirmWithContext(w.ctx, "", listen, true, false, amqp.Publishing{
			Body: body, Headers: amqp.Table{"x-odd": int32(i), "traceparent": "nonsense", "deliveries": "many"},
		})
		if err != nil {
			t.Fatal(err)
		}
		last = confirm
	}
	if ok, err := last.WaitContext(w.ctx); err != nil || !ok {
		t.Fatalf("publishing: confirmed %v, %v", ok, err)
	}

	jobs := w.enrich(observables(20)) // behind all of them: the consumer has got there
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%+v: %v", w.platform.Totals(), err)
	}
	checkWorks(t, w, jobs, false)
	peak := peakMemory(t, worker.cmd.Process.Pid)
	t.Logf("%d messages, at most %d MiB of memory", n, peak>>20)
	if peak > 200<<20 {
		t.Errorf("the worker took up to %d MiB of memory, want less than 200", peak>>20)
	}
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	letters, err := channel.Consume("ipqs-worker."+w.connector+".resolve.poison", "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range n - 1 {
		select {
		case letter := <-letters:
			sent[string(letter.Body)]--
		case <-w.ctx.Done():
			t.Fatal("not all messages are in the poison queue")
		}
	}
	for body, missing := range sent {
		if missing != 0 {
			t.Errorf("%.60q is in the poison queue %d times too little", body, missing)
		}
	}
}

// hostile makes a message that is no job, each another: broken JSON, wrong types, missing ids, null everywhere, a few large.
func hostile(dice *rand.Rand, i int) []byte {
	switch i % 8 {
	case 0:
		body := make([]byte, dice.IntN(200))
		for j := range body {
			body[j] = byte(dice.IntN(256))
		}
		return fmt.Appendf(body, "%d", i)
	case 1:
		return fmt.Appendf(nil, `{"internal":{"work_id":%d},"event":null}`, i)
	case 2:
		return fmt.Appendf(nil, `{"internal":null,"event":{"entity_id":[%d]}}`, i)
	case 3:
		return fmt.Appendf(nil, `{"internal":{"work_id":"w"},"event":{"entity_id":"","n":%d}}`, i)
	case 4:
		return fmt.Appendf(nil, `%s%d`, strings.Repeat("[", 5000), i)
	case 5:
		return fmt.Appendf(nil, `{"internal":{"playbook":{"step_id":%d}},"event":{"bundle":"x"}}`, i)
	case 6:
		return fmt.Appendf(nil, `{"event":{"entity_id":%q}}`, strings.Repeat("x", 5000)+strconv.Itoa(i))
	default:
		size := 1000
		if i%800 == 7 {
			size = 4 << 20
		}
		return fmt.Appendf(bytes.Repeat([]byte("\xff"), size), "%d", i)
	}
}

// peakMemory is the most resident memory that a process has had, in bytes, as Linux counts it.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		t.Log("there is no /proc here: memory is not looked at")
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(kib), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmHWM in the process's status")
	return 0
}
