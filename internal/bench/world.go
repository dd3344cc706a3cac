//go:build linux

package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// world is OpenCTI's broker, the stand-ins, and a worker between them.
type world struct {
	b        *Bench
	platform *platform
	standins *standins
}

// newWorld makes everything but the worker, new and empty.
func (b *Bench) newWorld(ctx context.Context) (*world, error) {
	if b.Worker == "" {
		return nil, errNoWorker
	}
	p, err := newPlatform(b.URL)
	if err != nil {
		return nil, err
	}
	coordinates, err := p.coordinates(b.URL)
	if err != nil {
		return nil, err
	}
	s, err := startStandins(ctx, coordinates)
	if err != nil {
		return nil, err
	}
	return &world{b, p, s}, nil
}

func (w *world) close() {
	w.standins.stop()
	_ = w.platform.tidy() // the broker is ours, and soon gone
	w.platform.close()
}

// start runs the worker as an operator would, with defaults but for what more says ("WORKER_LOOKUP_CONCURRENCY=8").
func (w *world) start(ctx context.Context, more ...string) (*process, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("finding a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return nil, err
	}
	directory, err := os.MkdirTemp("", "ipqs-worker-bench")
	if err != nil {
		return nil, fmt.Errorf("making the worker's directory: %w", err)
	}
	cmd := exec.CommandContext(ctx, w.b.Worker, "run") //nolint:gosec // the program to measure
	cmd.Dir = directory
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + directory,
		"OPENCTI_URL=" + w.standins.address, "OPENCTI_TOKEN=" + token,
		"CONNECTOR_ID=" + connectorID, "CONNECTOR_AUTO=true",
		"IPQS_PRIVATE_KEY=" + key, "IPQS_BASE_URL=" + w.standins.address + "/api/json",
		"CONNECTOR_METRICS_PORT=" + strconv.Itoa(port), "WORKER_METRICS_HOST=127.0.0.1",
	}, more...)
	if w.b.Profile != "" {
		cmd.Env = append(cmd.Env, "BENCH_PROFILE="+w.b.Profile)
	}
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	go func() {
		<-p.exit
		_ = os.RemoveAll(directory) // it is a temporary one
	}()
	return p, nil
}

// fill puts n job messages into OpenCTI's queue.
func (w *world) fill(ctx context.Context, n int) error {
	return w.platform.fill(ctx, w.platform.listen, n, func(i int) []byte { return job(i, false, time.Now()) })
}

// run is a whole one: n jobs wait when the worker starts, and it ends when all have ended.
type run struct {
	rate   float64       // jobs a second from the first request about a job to the last work's end
	cpu    time.Duration // of the worker per job, its start included
	broker time.Duration // the broker's per job; 0 if that is not known
	memory float64       // MiB at most
	share  time.Duration // of the stand-ins per job
	state  State
}

// whole runs n jobs through a worker.
func (w *world) whole(ctx context.Context, n int, latency time.Duration, more ...string) (r run, err error) {
	if err := w.standins.reset(ctx, latency); err != nil {
		return r, err
	}
	if err := w.fill(ctx, n); err != nil {
		return r, err
	}
	broker := w.b.brokerCPU()
	worker, err := w.start(ctx, more...)
	if err != nil {
		return r, err
	}
	defer worker.stop()
	r.state, err = w.standins.until(ctx, worker, func(s State) bool { return s.Processed >= n })
	if err != nil {
		return r, err
	}
	cpu, err := worker.cpu()
	if err != nil {
		return r, err
	}
	if _, r.memory, err = worker.memory(); err != nil {
		return r, err
	}
	r.rate = float64(n) / r.state.Last.Sub(r.state.First).Seconds()
	r.cpu = cpu / time.Duration(n)
	r.broker = (w.b.brokerCPU() - broker) / time.Duration(n)
	r.share = r.state.Handling / time.Duration(n)
	return r, nil
}
