//go:build unix

package redisnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"opencti-ipqs-worker/internal/freeport"
)

// ErrNotInstalled is returned by [Start] where the machine has neither redis-server nor valkey-server.
var ErrNotInstalled = errors.New("no Redis is installed: neither redis-server nor valkey-server found")

// startTimeout bounds one start, which takes milliseconds on an idle machine.
const startTimeout = time.Minute

// keeper runs its arguments until its standard input ends.
const keeper = `"$@" </dev/null & pid=$!; read -r _; kill -KILL "$pid"; wait "$pid" 2>/dev/null`

// Server is one Redis. Its methods may be called from several goroutines, one at a time.
type Server struct {
	program, dir string
	port         int
	release      func() error // of the port; nil before it has one

	mu   sync.Mutex
	cmd  *exec.Cmd // nil while it does not run
	life io.Closer // what keeps it alive
	log  *bytes.Buffer
}

// Installed reports whether this machine has what [Start] needs.
func Installed() bool {
	_, err := find()
	return err == nil
}

func find() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// Start makes a Server and returns once it answers. The error is [ErrNotInstalled] where the machine has none; any other
// carries what the server wrote. Whoever calls it calls Close.
func Start(ctx context.Context) (*Server, error) {
	program, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redisnode")
	if err != nil {
		return nil, fmt.Errorf("making the directory of Redis: %w", err)
	}
	s := &Server{program: program, dir: dir}
	if s.port, s.release, err = freeport.Take(); err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// URL is the server's address for clients.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Addr is the server's address and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Start starts a killed server again, empty, on the port that it had, and returns once it answers. One that runs is left
// alone.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return nil
	}
	s.log = new(bytes.Buffer)
	cmd := exec.Command("/bin/sh", "-c", keeper, "sh", //nolint:gosec,noctx // a program that was found, and our own arguments; it outlives ctx
		s.program, "--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--save", "", "--appendonly", "no", "--dir", s.dir)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	life, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("making a pipe to Redis: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Redis: %w", err)
	}
	s.cmd, s.life = cmd, life
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.answer(ctx); err != nil {
		s.kill()
		return fmt.Errorf("waiting for Redis: %w\n%s", err, s.log)
	}
	return nil
}

// answer returns when the server answers PING.
func (s *Server) answer(ctx context.Context) error {
	const again = 10 * time.Millisecond
	for {
		if s.pings(ctx) {
			return nil
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Server) pings(ctx context.Context) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	const pong = "+PONG\r\n"
	answer := make([]byte, len(pong))
	_, err = io.ReadFull(conn, answer)
	return err == nil && string(answer) == pong
}

// Kill ends the server at once; what it knew is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.life.Close() // The shell reads the end of it, and kills.
	_ = s.cmd.Wait()   // How it ended is of no interest: it is killed.
	s.cmd = nil
}

// Close kills the server and removes what it left.
func (s *Server) Close() error {
	s.Kill()
	var problems []error
	if s.release != nil {
		problems = append(problems, s.release())
		s.release = nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		problems = append(problems, fmt.Errorf("removing the directory of Redis: %w", err))
	}
	return errors.Join(problems...)
}
