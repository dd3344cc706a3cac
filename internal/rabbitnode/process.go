//go:build unix

package rabbitnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"opencti-ipqs-worker/internal/freeport"
)

// process is a started program that leads its own process group. A nil one is a program never started.
type process struct {
	pid  int
	done chan struct{} // closed when the program has ended
}

func newProcess(cmd *exec.Cmd) *process {
	p := &process{pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // How it ended is of no interest: it is stopped by a signal.
	}()
	return p
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop asks the program to end, waits until it has, and kills its group after the timeout.
func (p *process) stop(timeout time.Duration) error {
	if !p.running() {
		return nil
	}
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping process %d: %w", p.pid, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(timeout):
		return errors.Join(fmt.Errorf("stopping process %d: still there after %v, killed", p.pid, timeout), p.kill())
	}
}

// kill ends the program and all that it started, at once.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	if err := syscall.Kill(-p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing process group %d: %w", p.pid, err)
	}
	<-p.done
	return nil
}

// reaper is a shell that reads process groups from a pipe and ends them when the pipe closes, that is when the process
// which holds the other end is gone. It is how even a SIGKILL of a test leaves no node behind.
type reaper struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

const reaperScript = `
groups=
while read -r group; do groups="$groups $group"; done
for group in $groups; do kill -TERM "-$group"; done 2>/dev/null
for group in $groups; do
	tries=30
	while kill -0 "-$group" 2>/dev/null; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { kill -KILL "-$group"; break; }
		sleep 1
	done
done
if [ -n "$1" ]; then rm -rf -- "$1"; fi
`

// newReaper starts a reaper that also removes dir, if it is a temporary one.
func newReaper(dir string, temporary bool) (*reaper, error) {
	if !temporary {
		dir = ""
	}
	cmd := exec.Command("/bin/sh", "-c", reaperScript, "reaper", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the reaper: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the reaper: %w", err)
	}
	return &reaper{cmd: cmd, pipe: pipe}, nil
}

// watch adds a process group.
func (r *reaper) watch(group int) error {
	if _, err := io.WriteString(r.pipe, strconv.Itoa(group)+"\n"); err != nil {
		return fmt.Errorf("telling the reaper of process %d: %w", group, err)
	}
	return nil
}

// dismiss ends the reaper without it doing anything.
func (r *reaper) dismiss() {
	if r == nil {
		return
	}
	_ = r.cmd.Process.Kill() // Before the pipe closes. It can only fail if the reaper is gone already.
	_ = r.pipe.Close()
	_ = r.cmd.Wait()
}

// ports are the loopback ports of a node, its own until they are released.
type ports struct {
	amqp, dist, epmd, tls int
	claims                []func() error
}

func (p *ports) take() error {
	for _, port := range []*int{&p.amqp, &p.dist, &p.epmd, &p.tls} {
		taken, release, err := freeport.Take()
		if err != nil {
			return err
		}
		*port = taken
		p.claims = append(p.claims, release)
	}
	return nil
}

func (p *ports) release() error {
	var problems []error
	for _, release := range p.claims {
		problems = append(problems, release())
	}
	p.claims = nil
	return errors.Join(problems...)
}

func listens(port int) bool {
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// speaksAMQP says whether addr answers AMQP's protocol header with a method frame, as a broker does that is ready. It
// is much cheaper to ask than rabbitmqctl.
func speaksAMQP(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return false
	}
	frame := make([]byte, 1)
	_, err = io.ReadFull(conn, frame)
	return err == nil && bytes.Equal(frame, []byte{1})
}

// poll asks until the answer is yes or an error, or the context ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
