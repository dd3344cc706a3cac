package callback

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// headerTimeout, bodyTimeout and idleTimeout keep slow or forgotten clients from piling up.
	headerTimeout = 10 * time.Second
	bodyTimeout   = time.Minute
	idleTimeout   = 2 * time.Minute
	// maxHeaderBytes bounds a request's header, whose largest part is the token.
	maxHeaderBytes = 32 << 10
	// farewell is how long answers may take to leave when the server closes.
	farewell = 5 * time.Second
	// complainEvery is how often a reason for refusing is logged: anybody can make us refuse.
	complainEvery = time.Minute
)

// Options is what a [Server] is made of. Address, Path, Authorize and Accept are required.
type Options struct {
	// Address is where to listen, "host:port". An empty host is every address of the machine.
	Address string
	// Path is the one that jobs are posted to.
	Path string
	// TLS, if set, is spoken on the port.
	TLS *tls.Config
	// Authorize returns nil for the bearer token of OpenCTI's worker, else why it is refused. That is logged: the token must
	// not be in it.
	Authorize func(token string) error
	// Accept returns nil once the job, which is JSON, is safe with us, or an error if OpenCTI has to keep it. ctx ends after
	// Patience, when the worker has gone away, and when the server closes. It is called from many goroutines.
	Accept func(ctx context.Context, job []byte) error
	// MaxBytes bounds a job. Zero means 64 MiB.
	MaxBytes int64
	// Most is how many jobs may be accepted at once. Zero means 64.
	Most int
	// Patience is how long Accept may take. Zero means 280 s: the worker waits for 300.
	Patience time.Duration
	// Logger is told what is refused, and why. Nil means nobody is.
	Logger *slog.Logger
}

// Server takes jobs and answers with
//
//	202  the job is safe
//	400  the body is no JSON
//	401  no token, or one that is not OpenCTI's
//	404, 405  another path or method
//	413  the body is longer than Options.MaxBytes
//	503  the job is not safe: Accept says so or takes too long, too many are in hand, or the server is draining
type Server struct {
	options  Options
	log      *slog.Logger
	http     *http.Server
	listener net.Listener
	places   chan struct{} // one token for each job that is being accepted
	draining atomic.Bool
	stop     context.CancelFunc // ends the requests under way
	served   chan struct{}      // closed when the server has ended

	mu    sync.Mutex
	err   error // why it serves no longer
	spoke map[string]time.Time
}

// Listen makes a server and has it serve at once. Close ends it.
func Listen(ctx context.Context, o Options) (*Server, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Most <= 0 {
		o.Most = 64
	}
	if o.Patience <= 0 {
		o.Patience = 280 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("listening for OpenCTI's jobs: %w", err)
	}
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{
		options: o, log: o.Logger, listener: listener, stop: stop,
		places: make(chan struct{}, o.Most), served: make(chan struct{}), spoke: make(map[string]time.Time),
	}
	s.http = &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return base },
		TLSConfig:         o.TLS,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// Among the rest, why a TLS handshake failed: OpenCTI may not trust our certificate.
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	go s.serve()
	s.log.InfoContext(ctx, "taking jobs from OpenCTI's workers", slog.String("address", s.Addr()), slog.String("path", o.Path),
		slog.Bool("tls", o.TLS != nil))
	return s, nil
}

func (s *Server) serve() {
	defer close(s.served)
	serve := s.http.Serve
	if s.options.TLS != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	err := serve(s.listener)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = fmt.Errorf("taking jobs from OpenCTI's workers: %w", err)
}

// Addr is the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Ready returns nil while jobs are taken.
func (s *Server) Ready() error {
	if s.draining.Load() {
		return errDraining
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

var errDraining = errors.New("taking no more jobs from OpenCTI's workers")

// Drain refuses jobs from now on. Those in hand may still be accepted.
func (s *Server) Drain() { s.draining.Store(true) }

// Close drains, ends the contexts of the jobs in hand, and returns when they are answered and nobody is served any more.
func (s *Server) Close() error {
	s.Drain()
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	var err error
	if s.http.Shutdown(ctx) != nil {
		err = s.http.Close() // who has not said anything by now has nothing to lose
	}
	<-s.served
	return err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != s.options.Path:
		s.answer(w, http.StatusNotFound, "there is nothing here")
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		s.answer(w, http.StatusMethodNotAllowed, "jobs are posted")
	case s.draining.Load():
		w.Header().Set("Connection", "close")
		s.refuse(w, "the worker is stopping")
	default:
		s.take(w, r)
	}
}

func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	err := errNoToken
	if bearer && token != "" {
		err = s.options.Authorize(token)
	}
	if err != nil {
		s.complain(r.Context(), "refused a job for its token", err)
		w.Header().Set("WWW-Authenticate", "Bearer")
		s.answer(w, http.StatusUnauthorized, "the token is not OpenCTI's")
		return
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		s.refuse(w, "too many jobs are in hand")
		return
	}
	job, status, err := s.read(w, r)
	if err != nil {
		s.complain(r.Context(), "refused a job that cannot be read", err)
		s.answer(w, status, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.options.Patience)
	defer cancel()
	if err := s.options.Accept(ctx, job); err != nil {
		s.complain(r.Context(), "the job stays with OpenCTI", err)
		s.refuse(w, "the job is not safe yet")
		return
	}
	s.answer(w, http.StatusAccepted, "the job is safe")
}

var errNoToken = errors.New("there is no bearer token")

// read reads the body. status is the answer to an error.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (job []byte, status int, err error) {
	if r.ContentLength > s.options.MaxBytes {
		return nil, http.StatusRequestEntityTooLarge, s.tooLarge()
	}
	// Not the server's ReadTimeout: that would also end the context of a job that takes longer to be safe.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return nil, http.StatusServiceUnavailable, fmt.Errorf("limiting the time for the body: %w", err)
	}
	job, err = io.ReadAll(http.MaxBytesReader(w, r.Body, s.options.MaxBytes))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, s.tooLarge()
	} else if err != nil {
		return nil, http.StatusBadRequest, errors.New("the body ended too early")
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, http.StatusServiceUnavailable, fmt.Errorf("lifting the limit on the body's time: %w", err)
	}
	if !json.Valid(job) {
		return nil, http.StatusBadRequest, fmt.Errorf("the body is no JSON (%d bytes)", len(job))
	}
	return job, 0, nil
}

func (s *Server) tooLarge() error {
	return fmt.Errorf("the body is longer than %d bytes", s.options.MaxBytes)
}

// refuse tells the worker to try again. It waits for 10 to 30 seconds by itself.
func (s *Server) refuse(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "10")
	s.answer(w, http.StatusServiceUnavailable, why)
}

func (s *Server) answer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(map[string]string{"message": message}); err != nil {
		s.log.Debug("answering OpenCTI's worker", slog.Any("error", err)) // they are gone
	}
}

// complain logs what was refused, each reason once in a while.
func (s *Server) complain(ctx context.Context, what string, why error) {
	if errors.Is(why, context.Canceled) {
		return // the worker has gone away, or we are closing
	}
	s.mu.Lock()
	now := time.Now()
	silent := now.Sub(s.spoke[what]) < complainEvery
	if !silent {
		s.spoke[what] = now
	}
	s.mu.Unlock()
	level := slog.LevelWarn
	if silent {
		level = slog.LevelDebug
	}
	s.log.LogAttrs(ctx, level, what, slog.Any("error", why)) //nolint:sloglint // a text of this file
}
