package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/observable"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
	"opencti-ipqs-worker/stix"
)

// EnrichOptions is what [EnrichAll] works with.
type EnrichOptions struct {
	Config  config.Config
	Logger  *slog.Logger
	Version string
	// Done, if set, is called for each observable as it ends, from one goroutine at a time.
	Done func(Result)
}

// attendedAttempts is how often a stage is tried while somebody waits for the answer.
const attendedAttempts = 3

// EnrichAll sends each observable through the five stages, in this process, and returns what came of each, in the order
// given. An observable given twice is looked up once. The error is about the whole: ctx ended, or the pipeline broke. What
// was answered by then is returned beside it: it is paid for.
func EnrichAll(ctx context.Context, o EnrichOptions, observables []observable.Observable) ([]Result, error) {
	jobs := make(map[string]observable.Observable, len(observables))
	var order []string
	for _, one := range observables {
		id := jobID(one)
		if _, ok := jobs[id]; !ok {
			jobs[id] = one
			order = append(order, id)
		}
	}
	if len(order) == 0 {
		return nil, nil
	}
	chosen, err := choices(o.Config)
	if err != nil {
		return nil, &OptionsError{err}
	}
	risks, err := newRisks(Options{Config: o.Config, Version: o.Version, Logger: o.Logger}, func() {}, nil)
	if err != nil {
		return nil, &OptionsError{err}
	}
	defer risks.close()
	if risks.watch != nil {
		risks.watch.Read(ctx) // once: what is held back is held back here, too
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	local := local{jobs: jobs}
	hops := pipeline.Definition(pipeline.World{
		Entities: local, Works: local, Labels: local, Indicators: local, Countries: local, Intake: local, Envelope: local.envelope,
		Risks: risks, Sources: sources(o.Config.IPQS, local, local, chosen.guard), Now: time.Now,
		Lookups: inHand(o.Config), InHand: o.Config.Worker.Concurrency,
		Scoring: chosen.scoring, Enrichment: chosen.enrichment, Posted: true,
		Policy: stages.Policy{Scope: observable.Types(), MaxTLP: opencti.TLPRed, Guard: chosen.guard},
	})
	for i := range hops {
		hops[i].Retry.Attempts = min(hops[i].Retry.Attempts, attendedAttempts)
	}
	transport := memory.New(memory.Options{Topics: pipeline.Topics(hops)})
	defer func() { _ = transport.Close() }()

	c := collection{jobs: jobs, results: make(map[string]Result, len(jobs)), done: o.Done, all: cancel}
	p, err := pipeline.New(pipeline.Options{
		Hops: hops, Transport: transport, Ends: local, Logger: o.Logger, Router: telemetry.NewWatermillLogger(o.Logger),
		Version: o.Version, Observe: c.observe, Attended: true,
	})
	if err != nil {
		return nil, err
	}
	fed := make(chan error, 1)
	go func() { fed <- feed(ctx, transport, hops[0].Name(), order) }()
	runErr := p.Run(ctx)
	cancel()
	results, err := c.inOrder(order)
	return results, errors.Join(err, runErr, <-fed)
}

// collection gathers what came of each job.
type collection struct {
	jobs map[string]observable.Observable
	done func(Result)
	all  context.CancelFunc

	mu      sync.Mutex
	results map[string]Result
}

func (c *collection) observe(outcome pipeline.Outcome) {
	if outcome.End == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	result := newResult(c.jobs[outcome.Job.ID], outcome)
	c.results[outcome.Job.ID] = result
	if c.done != nil {
		c.done(result)
	}
	if len(c.results) == len(c.jobs) {
		c.all()
	}
}

func (c *collection) inOrder(order []string) ([]Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var interrupted error
	results := make([]Result, len(order))
	for i, id := range order {
		result, ok := c.results[id]
		if !ok {
			result = Result{Value: c.jobs[id].Value, Type: c.jobs[id].Type, Outcome: Interrupted}
			interrupted = context.Canceled
		}
		results[i] = result
	}
	return results, interrupted
}

// localWork is the work id of all jobs.
const localWork = "enrich"

// jobID is the id of the job of an observable: the same observable, the same job, and so the same bundle id.
func jobID(o observable.Observable) string { return localWork + "/" + standardID(o) }

func standardID(o observable.Observable) string {
	kind, _ := stix.TypeByName(o.Type)
	return stix.ObservableID(kind.STIX, o.Value)
}

// feed puts a job message for each id into the first topic, as OpenCTI would.
func feed(ctx context.Context, transport pipeline.Transport, topic string, ids []string) error {
	for _, id := range ids {
		body, err := json.Marshal(map[string]any{
			"internal": map[string]any{"work_id": localWork},
			"event":    map[string]any{"entity_id": strings.TrimPrefix(id, localWork+"/")},
		})
		if err != nil {
			return fmt.Errorf("making the job of %s: %w", id, err)
		}
		msg := message.NewMessage(watermill.NewULID(), body)
		msg.SetContext(ctx)
		if err := transport.Publish(topic, msg); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // told to stop
			}
			return fmt.Errorf("handing over a job: %w", err)
		}
	}
	return nil
}

// local stands where OpenCTI is when there is none: entities are the observables given, and nobody waits for a work.
type local struct {
	jobs map[string]observable.Observable
}

// State is the observable alone: nothing was written about it.
func (l local) State(_ context.Context, q opencti.StateQuery) (opencti.State, error) {
	entity, err := l.entity(q.EntityID)
	return opencti.State{Entity: entity}, err
}

func (l local) entity(id string) (opencti.Entity, error) {
	one, ok := l.jobs[localWork+"/"+id]
	if !ok {
		return opencti.Entity{}, opencti.ErrNotFound
	}
	if one.Type == "Artifact" {
		return artifactOf(one.Value, id)
	}
	entity := opencti.Entity{ID: id, StandardID: standardID(one), Type: one.Type, Value: one.Value}
	if one.Type == "User-Account" {
		entity.Account = &opencti.Account{Login: one.Value}
	}
	return entity, nil
}

// Credential is the login: a password has no place on a command line.
func (l local) Credential(_ context.Context, id, _ string) (opencti.Credential, error) {
	return opencti.NewCredential(l.jobs[localWork+"/"+id].Value, ""), nil
}

// Download reads a file of this machine's.
func (local) Download(_ context.Context, path, _ string) (*opencti.Download, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, noFile(err)
	}
	return &opencti.Download{ReadCloser: file, Size: -1}, nil
}

// artifactOf is the artifact that a file would be.
func artifactOf(path, id string) (opencti.Entity, error) {
	file, err := os.Open(path)
	if err != nil {
		return opencti.Entity{}, noFile(err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return opencti.Entity{}, noFile(err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	return opencti.Entity{
		ID: id, StandardID: stix.ObservableID("artifact", sum), Type: "Artifact", Value: sum,
		Artifact: &opencti.Artifact{
			Hashes: map[string]string{"SHA-256": sum}, Files: []opencti.File{{ID: path, Name: filepath.Base(path), Size: size}},
		},
	}, nil
}

func noFile(err error) error {
	return &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonNotFound, Err: fmt.Errorf("reading the file: %w", err)}
}

func (local) Received(context.Context, opencti.WorkJob, string) error { return nil }

func (local) Processed(context.Context, opencti.WorkJob, string, opencti.WorkState) error {
	return nil
}

func (local) Announce(context.Context, opencti.WorkJob, int) (opencti.WorkState, error) {
	return opencti.WorkState{}, nil
}
func (local) EnsureLabel(context.Context, string, string) error         { return nil }
func (local) RemoveLabel(context.Context, string, string, string) error { return nil }
func (local) PatchIndicator(context.Context, string, opencti.IndicatorPatch, string) error {
	return nil
}

func (local) Country(context.Context, string, string) (opencti.Country, bool, error) {
	return opencti.Country{}, false, nil
}
func (local) Push(context.Context, [][]byte) error { return nil }
func (local) envelope(_ opencti.PushOptions, bundle []byte) ([]byte, error) {
	return bundle, nil
}
func (local) Skipped(context.Context, stages.Job, *stages.Fault) error              { return nil }
func (local) DeadLettered(context.Context, stages.Job, *stages.Fault, string) error { return nil }
