package ipqstest

import (
	"io"
	"net/http"
	"net/http/httptest"
)

// Server is a [Fake] that listens on a free port of the loopback interface.
type Server struct {
	*Fake
	// BaseURL is what ipqs.Options and the worker's configuration call the base URL.
	BaseURL string

	server *httptest.Server
}

// NewServer starts a Server; close it after use. It panics if the machine has no loopback interface.
func NewServer(o Options) *Server {
	fake := New(o)
	server := httptest.NewServer(fake)
	return &Server{Fake: fake, BaseURL: server.URL + "/api/json", server: server}
}

// Close stops the server, and cuts the connections of answers that are still to come.
func (s *Server) Close() {
	_ = s.server.Listener.Close() // first: a client whose connection is cut may ask again at once, and would be answered
	s.server.CloseClientConnections()
	s.server.Close()
}

// BaseURL is the base URL to use with the client that [Fake.Client] returns.
const BaseURL = "http://ipqs.example/api/json"

// Client returns an HTTP client whose requests, to any host, are answered by the fake in the caller's goroutine.
func (f *Fake) Client() *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (resp *http.Response, err error) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				resp, err = nil, io.ErrUnexpectedEOF
			default:
				panic(p)
			}
		}()
		recorder := httptest.NewRecorder()
		f.ServeHTTP(recorder, r)
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return recorder.Result(), nil
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
