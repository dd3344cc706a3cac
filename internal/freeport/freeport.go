// Package freeport finds ports of the loopback interface for servers that have to be told where to listen, such as brokers
// and workers that tests start as processes. A port from the system would be free for a moment only: the next connection
// of anybody may get it, and so may the next one who asks.
package freeport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// First and Count are the range of the ports: below those that systems take for outgoing connections and for whoever
// leaves the choice to them (on Linux from 32768), so that a port is still free when its server is started again.
const (
	First = 20000
	Count = 12000
)

const tries = 1000

// Take returns a port on which nobody listens, and which nobody else who asks here gets before release is called or the
// process ends: no other process either.
func Take() (port int, release func() error, err error) {
	var listen net.ListenConfig
	for range tries {
		port := First + rand.IntN(Count)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		// UDP has ports of its own, which none of our servers uses: who has that one, has the other. The system gives it back
		// whatever becomes of the process.
		claim, err := listen.ListenPacket(context.Background(), "udp", address)
		if err != nil {
			continue
		}
		if Free(port) {
			return port, claim.Close, nil
		}
		_ = claim.Close()
	}
	return 0, nil, fmt.Errorf("finding a free port: none in %d tries from %d to %d", tries, First, First+Count-1)
}

// Free reports whether nobody listens on a port, on any interface.
func Free(port int) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
