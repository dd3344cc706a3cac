//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
)

// asCommand in the environment makes the test binary be the command under test.
const asCommand = "WITHNODE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func TestNamedNodeIsUsed(t *testing.T) {
	t.Parallel()
	cmd := withnode(t, "amqp://somewhere:1/", "--", "sh", "-c", `printf %s "$TEST_AMQP_URL"; exit 3`)
	out, err := cmd.Output()
	if got := status(err); got != 3 {
		t.Errorf("status = %d, want 3", got)
	}
	if got, want := string(out), "amqp://somewhere:1/"; got != want {
		t.Errorf("TEST_AMQP_URL = %q, want %q", got, want)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"success", []string{"true"}, 0},
		{"killed by a signal", []string{"sh", "-c", "kill -9 $$"}, 128 + 9},
		{"no such command", []string{"/no/such/command"}, exitCannot},
		{"no command", []string{"--"}, exitCannot},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := status(withnode(t, "amqp://somewhere:1/", tt.args...).Run()); got != tt.want {
				t.Errorf("status = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestPrivateNode(t *testing.T) {
	t.Parallel()
	rabbitnodetest.Need(t)
	tests := []struct {
		name   string
		signal syscall.Signal
		// want is the exit status; the command turns SIGTERM into 9.
		want int
	}{
		{"a signal is passed on", syscall.SIGTERM, 9},
		{"killed without warning", syscall.SIGKILL, 128 + 9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := withnode(t, "", "--", "sh", "-c",
				`trap 'exit 9' TERM; echo $$ "$TEST_AMQP_URL"; while :; do sleep 0.1; done`)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatalf("starting withnode: %v", err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatalf("reading what the command printed: %v", err)
			}
			pid, url, _ := strings.Cut(strings.TrimSpace(line), " ")
			child, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatalf("the command printed %q, want its process id and the node's address", line)
			}
			t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) }) // Gone already, but after a failure.

			conn, err := amqp.Dial(url)
			if err != nil {
				t.Fatalf("dialling %s: %v", url, err)
			}
			if err := conn.Close(); err != nil {
				t.Errorf("closing the connection: %v", err)
			}

			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			_ = syscall.Kill(child, tt.signal) // Twice, as from a terminal. It may be gone.
			_, _ = io.Copy(io.Discard, stdout)
			if got := status(cmd.Wait()); got != tt.want {
				t.Errorf("status = %d, want %d", got, tt.want)
			}
			awaitGone(t, strings.TrimSuffix(strings.TrimPrefix(url, "amqp://guest:guest@"), "/"))
		})
	}
}

// awaitGone waits until nobody listens at addr.
func awaitGone(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("the node still listens at %s", addr)
		}
	}
}

func withnode(t *testing.T, url string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", fmt.Sprintf("%s=%s", urlVariable, url))
	cmd.Stderr = t.Output()
	return cmd
}
