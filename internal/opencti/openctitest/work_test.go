package openctitest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestCompletion names what the releases do when a work's counters and its end meet. expected is announced before, reports
// come before the end (early) or after it (late).
func TestCompletion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, version         string
		expected, early, late int
		wantProcessed         bool // complete right after toProcessed
		wantLate              bool // complete at last
		wantAlive             bool // at last
	}{
		{"5.4: nothing expected", "5.4.1", 0, 0, 0, true, true, true},
		{"5.4: all reported before", "5.4.1", 2, 2, 0, true, true, true},
		{"5.4: reported later", "5.4.1", 2, 0, 2, false, true, true},
		{"5.4: too few", "5.4.1", 2, 1, 0, false, false, true},
		{"6.8.10: nothing expected", "6.8.10", 0, 0, 0, true, true, true},
		{"6.8.10: all reported before, the key goes", "6.8.10", 2, 2, 0, true, true, false},
		{"6.8.10: reported later, the key stays", "6.8.10", 2, 0, 2, false, true, true},
		{"7.260417: equal counts", "7.260417", 2, 1, 1, false, true, true},
		{"7.260422: nothing expected, the key goes", "7.260422", 0, 0, 0, true, true, false},
		{"7.260423: all reported before, the key goes", "7.260423", 2, 2, 0, true, true, false},
		{"7.260428: nothing expected stays open", "7.260428", 0, 0, 0, false, false, true},
		{"7.260428: reported later", "7.260428", 2, 0, 2, false, true, true},
		{"7.260428: a report without expectation completes", "7.260428", 0, 0, 1, false, true, true},
		{"7.260609: nothing expected stays open", "7.260609", 0, 0, 0, false, false, true},
		{"7.260615: nothing expected", "7.260615", 0, 0, 0, true, true, true},
		{"7.260817: reported later", "7.260817", 2, 1, 1, false, true, true},
		{"7.260817: more than expected", "7.260817", 1, 2, 0, true, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, broker := registered(t, tt.version)
			id, _ := enrich(t, p, broker, "198.51.100.7")
			edit(t, p, id, `toReceived(message: "m")`)
			if tt.expected > 0 {
				edit(t, p, id, map[int]string{1: "addExpectations(expectations: 1)", 2: "addExpectations(expectations: 2)"}[tt.expected])
			}
			for range tt.early {
				edit(t, p, id, "reportExpectation")
			}
			edit(t, p, id, `toProcessed(message: "done", inError: false)`)
			if w, _ := p.Work(id); (w.Status == statusComplete) != tt.wantProcessed {
				t.Errorf("after toProcessed: %+v, want complete %t", w, tt.wantProcessed)
			}
			for range tt.late {
				edit(t, p, id, "reportExpectation")
			}
			if w, _ := p.Work(id); (w.Status == statusComplete) != tt.wantLate || w.Alive != tt.wantAlive {
				t.Errorf("at last: %+v, want complete %t, alive %t", w, tt.wantLate, tt.wantAlive)
			}
		})
	}
}

// TestDeadWorkLosesObjects: the trap itself, as a connector walks into it that counts its works where it must not. A
// younger work finishes, the clean-up runs, and the older work's objects are gone without a word.
func TestDeadWorkLosesObjects(t *testing.T) {
	t.Parallel()
	for version, lost := range map[string]bool{"6.8.6": false, "6.8.7": true, "6.8.10": true, "7.260507": true, "7.260510": false, "7.260817": false} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p, broker := registered(t, version)
			older, _ := enrich(t, p, broker, "198.51.100.1")
			younger, _ := enrich(t, p, broker, "198.51.100.2")
			for _, id := range []string{older, younger} {
				edit(t, p, id, `toReceived(message: "m")`)
				edit(t, p, id, "addExpectations(expectations: 1)")
			}
			push(t, broker, message(t, younger, note("younger"), nil))
			until(t, p, "the younger is complete", func() bool { w, _ := p.Work(younger); return w.Status == statusComplete })
			p.Tick()
			if w, _ := p.Work(older); !w.Forced || w.Status != statusComplete || w.Alive == lost {
				t.Errorf("older work = %+v, want it forced, alive %t", w, !lost)
			}
			edit(t, p, older, "addExpectations(expectations: 1)") // says yes and does not bring it back
			push(t, broker, message(t, older, note("older"), nil), message(t, "", note("last"), nil))
			until(t, p, "the last is imported", func() bool { return p.Imported()["note--last"].Times == 1 })
			w, _ := p.Work(older)
			if got := p.Imported()["note--older"].Times == 0; got != lost || (w.Dropped == 1) != lost {
				t.Errorf("lost = %t, dropped %d, want lost %t", got, w.Dropped, lost)
			}
		})
	}
}

func TestWorksAreToldApart(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "7.260817.0")
	ids := map[string]bool{}
	for range 50 { // more than a millisecond's worth of ids
		id, _ := enrich(t, p, broker, "198.51.100.7")
		ids[id] = true
	}
	if len(ids) != 50 || len(p.Works()) != 50 {
		t.Errorf("%d ids and %d works of 50 jobs", len(ids), len(p.Works()))
	}
}

// A work that is complete because all of it is imported is still to be ended by the connector.
func TestWaitWorksWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "7.260817")
	id, _ := enrich(t, p, broker, "198.51.100.7")
	edit(t, p, id, `toReceived(message: "m")`)
	edit(t, p, id, "addExpectations(expectations: 1)")
	edit(t, p, id, "reportExpectation")
	if w, _ := p.Work(id); w.Status != statusComplete {
		t.Fatalf("work = %+v, want it complete", w)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.WaitWorks(over, 1); err == nil {
		t.Error("WaitWorks() = nil before the connector has ended the work, want it to wait")
	}
	edit(t, p, id, `toProcessed(message: "done", inError: false)`)
	if err := p.WaitWorks(t.Context(), 1); err != nil {
		t.Errorf("WaitWorks() = %v, want nil", err)
	}
}

// TestShareWorks: jobs share works on request, of which the platform keeps the latest entity; else each has a work of its own.
func TestShareWorks(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "")
	p.ShareWorks(2)
	var works []string
	for i := range 6 {
		if i == 4 {
			p.ShareWorks(0)
		}
		work, _ := enrich(t, p, broker, fmt.Sprintf("198.51.100.%d", i+1))
		works = append(works, work)
	}
	for i, shared := range map[int]bool{1: true, 2: false, 3: true, 4: false, 5: false} {
		if (works[i] == works[i-1]) != shared {
			t.Errorf("works = %q, want job %d to share that of the job before: %t", works, i, shared)
		}
	}
	first, _ := p.Work(works[0])
	if want := standard("ipv4-addr", map[string]any{"value": "198.51.100.2"}); first.Jobs != 2 || first.EntityID != want {
		t.Errorf("work = %+v, want two jobs and the entity of the second one, %s", first, want)
	}
}

// TestReceivedAfterTheEnd: toReceived of another job reopens a completed work. It stays open until something completes it again.
func TestReceivedAfterTheEnd(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "6.9.5")
	id, _ := enrich(t, p, broker, "198.51.100.7")
	edit(t, p, id, `toReceived(message: "first")`)
	edit(t, p, id, `toProcessed(message: "done", inError: false)`)
	edit(t, p, id, `toReceived(message: "second")`)
	if w, _ := p.Work(id); w.Status != statusProgress {
		t.Errorf("work = %+v, want it reopened", w)
	}
	edit(t, p, id, `toProcessed(message: "done", inError: false)`)
	if w, _ := p.Work(id); w.Status != statusComplete {
		t.Errorf("work = %+v, want it complete", w)
	}
}

// TestAnnouncedAfterTheEnd: before 7.260428 the end of the first job deletes the counters. What another job announces then is
// counted from zero, and the work completes with half of what its jobs announced.
func TestAnnouncedAfterTheEnd(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "6.7.5")
	id, _ := enrich(t, p, broker, "198.51.100.7")
	for range 2 {
		edit(t, p, id, `toReceived(message: "m")`)
		edit(t, p, id, "addExpectations(expectations: 2)")
		edit(t, p, id, "reportExpectation")
		edit(t, p, id, "reportExpectation")
		edit(t, p, id, `toProcessed(message: "done", inError: false)`)
	}
	if w, _ := p.Work(id); w.Status != statusComplete || w.Expected != 4 || w.Processed != 2 {
		t.Errorf("work = %+v, want it complete with 2 of 4", w)
	}
}

// TestSetRestarting: while the platform restarts every request gets 503, and the jobs whose post was cut off are posted again
// afterwards; what is stored remains.
func TestSetRestarting(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "")
	posts, release := make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posts <- struct{}{}
		select {
		case <-release:
			w.WriteHeader(http.StatusAccepted)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	if _, code, message := ask(t, p, register, listening(server.URL)); code != "" {
		t.Fatalf("registration refused: %s %s", code, message)
	}
	id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
	if _, err := p.Enrich(t.Context(), id, Manual); err != nil {
		t.Fatal(err)
	}
	<-posts
	p.SetRestarting(true)
	if err := p.Wait(t.Context(), func() bool { return len(p.CallbackAnswers()) == 1 }); err != nil || p.CallbackAnswers()[0].Err == nil {
		t.Errorf("answers = %+v, %v, want the post to be cut off", p.CallbackAnswers(), err)
	}
	recorder := httptest.NewRecorder()
	p.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/graphql", http.NoBody))
	if recorder.Code != http.StatusServiceUnavailable {
		t.Errorf("status of a request = %d, want 503", recorder.Code)
	}
	close(release)
	p.SetRestarting(false)
	<-posts
	if err := p.Wait(t.Context(), func() bool { return len(p.CallbackAnswers()) == 2 }); err != nil || p.CallbackAnswers()[1].Status != http.StatusAccepted {
		t.Errorf("answers = %+v, %v, want the job accepted", p.CallbackAnswers(), err)
	}
	if works := p.Works(); len(works) != 1 {
		t.Errorf("%d works, want the one from before", len(works))
	}
}
