package opencti

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// passage is how far a request got.
type passage struct{ at atomic.Int32 }

// The stations of a request.
const (
	notConnected int32 = iota // no connection was had
	underway                  // it is being written, as far as anybody knows
	brokenOff                 // the connection broke before all of it was written
	written                   // all of it left us
)

// follow returns a context under which a request's way is noted. A request that is sent again by the transport, because
// nothing of it had been written, starts anew.
func (p *passage) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.at.Store(notConnected) },
		GotConn: func(httptrace.GotConnInfo) { p.at.Store(underway) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				p.at.Store(brokenOff)
				return
			}
			p.at.Store(written)
		},
	})
}

// unsure reports whether the platform may have done what failed with err: the request got through, and what came back is
// neither the platform's word nor a refusal that somebody gives who has not passed it on. Such a refusal is a redirect, a
// 4xx, and 503, which a proxy says when it has nobody to ask; 502 and 504 it says also when it has asked.
func (p *passage) unsure(err error) bool {
	if at := p.at.Load(); err == nil || at == notConnected || at == brokenOff {
		return false
	}
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok: // cancelled
		return true
	case e.Code != "":
		return false
	case e.Status == 0:
		return true
	default:
		return e.Status < http.StatusMultipleChoices || e.Status >= http.StatusInternalServerError && e.Status != http.StatusServiceUnavailable
	}
}
