package pipelinetest

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
)

// FaultProxy stands between clients and a TCP server and makes trouble when told to. Its methods are safe for concurrent
// use.
type FaultProxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	refuse  bool
	stalled chan struct{} // closed when data flow again; nil while they do
	held    int           // how many directions hold data
}

// NewFaultProxy starts a proxy for the server at target ("host:port"), until the end of the test.
func NewFaultProxy(tb testing.TB, target string) *FaultProxy {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("starting a proxy: %v", err)
	}
	p := &FaultProxy{target: target, listener: listener, conns: make(map[net.Conn]struct{})}
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		_ = listener.Close()
		p.Resume()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Through returns rawURL with the proxy's address in the place of the server's.
func (p *FaultProxy) Through(tb testing.TB, rawURL string) string {
	tb.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		tb.Fatalf("parsing the server's URL: %v", err)
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

// Cut closes all connections at once.
func (p *FaultProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// Refuse makes the proxy end new connections at once, or take them again.
func (p *FaultProxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Stall holds all data in both directions, as a dead network does: nothing arrives and nobody is told.
func (p *FaultProxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// Resume lets data flow again, with what was held.
func (p *FaultProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// Held is how many directions of connections hold data in a stall.
func (p *FaultProxy) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Connections is how many clients are connected.
func (p *FaultProxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

func (p *FaultProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
		if refuse || err != nil {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			continue
		}
		p.add(client, server)
		p.running.Go(func() { p.copy(client, server) })
		p.running.Go(func() { p.copy(server, client) })
	}
}

func (p *FaultProxy) add(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.conns[conn] = struct{}{}
	}
}

// copy moves data one way until either side ends, and then ends both.
func (p *FaultProxy) copy(from, to net.Conn) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
		delete(p.conns, to)
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.hold()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// hold waits for the end of a stall.
func (p *FaultProxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled != nil {
		stalled := p.stalled
		p.held++
		p.mu.Unlock()
		<-stalled
		p.mu.Lock()
		p.held--
	}
}
