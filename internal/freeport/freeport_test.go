package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"opencti-ipqs-worker/internal/freeport"
)

func TestTake(t *testing.T) {
	t.Parallel()
	taken := make(map[int]bool)
	for range 200 { // of 12,000, one comes twice almost surely unless it is kept
		port, release, err := freeport.Take()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := release(); err != nil {
				t.Errorf("release() = %v", err)
			}
		})
		if taken[port] || port < freeport.First || port >= freeport.First+freeport.Count {
			t.Errorf("Take() = %d, want another one in its range", port)
		}
		taken[port] = true
	}
}

func TestFree(t *testing.T) {
	t.Parallel()
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	for _, host := range []string{"127.0.0.1", ""} {
		if !freeport.Free(port) {
			t.Errorf("Free(%d) = false, want true: nobody listens", port)
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			t.Fatalf("listening on a port that was taken for it: %v", err)
		}
		if freeport.Free(port) {
			t.Errorf("Free(%d) = true while somebody listens at %q", port, host)
		}
		_ = listener.Close()
	}
}
