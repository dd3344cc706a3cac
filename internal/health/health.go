package health

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
)

// Check is one thing that the worker depends on.
type Check struct {
	// Name is its key in the body of /readyz.
	Name string
	// State returns nil while the dependency is as it should be, else why not. It is called for every request, from many
	// goroutines, and must not wait for anything. Its text is shown to whoever can reach the address: no secrets. If the
	// error has a method Details() any, what that returns is shown as well, as JSON.
	State func() error
	// Informative says that the state is shown, but that the worker is as ready without.
	Informative bool
}

// Options is what a [Server] is made of.
type Options struct {
	// Address is where to listen, "host:port". An empty host is every address of the machine.
	Address string
	// Live returns nil while the worker's loop goes round, else what is wrong. It must not wait for anything.
	Live func() error
	// Ready lists the dependencies of /readyz.
	Ready []Check
	// Logger is told where the server listens, or why it can't. Nil means nobody is.
	Logger *slog.Logger
}

// Server serves /livez, /readyz and what else is put beside them. Make it with [New].
type Server struct {
	options Options
	mux     *http.ServeMux
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: o, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /livez", s.livez)
	s.mux.HandleFunc("GET /readyz", s.readyz)
	return s
}

// Handle puts another handler beside /livez and /readyz. The pattern is one of [http.ServeMux]. Call it before Run.
func (s *Server) Handle(pattern string, handler http.Handler) { s.mux.Handle(pattern, handler) }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Run listens and serves until ctx ends. When it cannot listen, because the port is taken for example, it logs a warning
// and returns at once.
func (s *Server) Run(ctx context.Context) {
	listen(ctx, s.options.Address, s.mux, "the worker's state", s.options.Logger)
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	body := struct {
		Live   bool   `json:"live"`
		Reason string `json:"reason,omitempty"`
	}{Live: true}
	if err := s.options.Live(); err != nil {
		body.Live, body.Reason = false, err.Error()
	}
	s.answer(w, body.Live, body)
}

// dependency is one entry of the body of /readyz.
type dependency struct {
	OK          bool   `json:"ok"`
	Informative bool   `json:"informative,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Details     any    `json:"details,omitempty"`
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	body := struct {
		Ready        bool                  `json:"ready"`
		Dependencies map[string]dependency `json:"dependencies"`
	}{true, make(map[string]dependency, len(s.options.Ready))}
	for _, check := range s.options.Ready {
		d := dependency{OK: true, Informative: check.Informative}
		if err := check.State(); err != nil {
			d.OK, d.Reason = false, err.Error()
			if detailed, ok := err.(interface{ Details() any }); ok {
				d.Details = detailed.Details()
			}
			body.Ready = body.Ready && check.Informative
		}
		body.Dependencies[check.Name] = d
	}
	s.answer(w, body.Ready, body)
}

func (s *Server) answer(w http.ResponseWriter, well bool, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		s.options.Logger.Debug("answering about the worker's state", slog.Any("error", err)) // they are gone
	}
}
