//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that runs beside the benchmark.
type process struct {
	cmd  *exec.Cmd
	exit chan struct{} // closed when it has ended
	log  *tail
}

func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exit: make(chan struct{}), log: &tail{}}
	cmd.Stderr = p.log
	if cmd.Stdout == nil {
		cmd.Stdout = p.log
	}
	// It ends with us, however we end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		defer close(p.exit)
		_ = cmd.Wait() // how it ended is in its state
	}()
	return p, nil
}

// stop asks the process to end, and kills it if it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.exit:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill() // as above
		<-p.exit
	}
}

func (p *process) ended() error {
	select {
	case <-p.exit:
		return fmt.Errorf("%s ended: %v\n%s", p.cmd.Path, p.cmd.ProcessState, p.log)
	default:
		return nil
	}
}

// ticks is how often a second the kernel counts processor time for /proc; it has been 100 for decades.
const ticks = 100

// cpu is the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) { return cpuOf(p.cmd.Process.Pid) }

func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading a process's processor time: %w", err)
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // after the program's name
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return 0, errors.New("reading a process's processor time: /proc has another form here")
	}
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticks, errors.Join(userErr, systemErr)
}

// memory is how much the process has resident at the moment, and at most so far, in MiB.
func (p *process) memory() (now, most float64, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	defer func() { _ = file.Close() }() // it was read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64) // else it is none of these two
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			most = kib / 1024
		}
	}
	return now, most, nil
}

// selfCPU is the processor time that this process has used.
func selfCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0 // it can't fail with these arguments
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text = append(t.text, p...); len(t.text) > 16<<10 {
		t.text = bytes.Clone(t.text[len(t.text)-8<<10:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// standins is the process of the stand-ins, as the benchmark sees it.
type standins struct {
	*process
	address string
}

// startStandins runs this program once more, as the stand-ins.
func startStandins(ctx context.Context, coordinates map[string]any) (*standins, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	text, err := json.Marshal(coordinates)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "standins")
	cmd.Stdin = bytes.NewReader(text)
	address, told, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer func() { _ = address.Close() }() // it was read
	cmd.Stdout = told
	p, err := start(cmd)
	_ = told.Close() // the process has its own
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(address).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("waiting for the stand-ins: %w\n%s", err, p.log)
	}
	return &standins{p, strings.TrimSpace(line)}, nil
}

func (s *standins) reset(ctx context.Context, latency time.Duration) error {
	return s.get(ctx, "/control/reset?latency="+latency.String(), nil)
}

func (s *standins) state(ctx context.Context, times bool) (state State, err error) {
	path := "/control/state"
	if times {
		path += "?times=1"
	}
	err = s.get(ctx, path, &state)
	return state, err
}

func (s *standins) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking the stand-ins: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// until asks the stand-ins every now and then until done says so.
func (s *standins) until(ctx context.Context, w *process, done func(State) bool) (State, error) {
	for {
		state, err := s.state(ctx, false)
		if err != nil || done(state) {
			return state, err
		}
		if err := w.ended(); err != nil {
			return state, err
		}
		if !pause(ctx, 20*time.Millisecond) {
			return state, fmt.Errorf("waiting for jobs, %d have ended: %w", state.Processed, context.Cause(ctx))
		}
	}
}

// brokerPID finds the process of a private node of package rabbitnode by its port; 0 means that the broker is another one,
// whose processor time is not known.
func brokerPID(port int) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	want := fmt.Appendf(nil, "RABBITMQ_NODE_PORT=%d", port)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || !bytes.HasPrefix(name, []byte("beam")) {
			continue
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.Equal(variable, want) {
				return pid
			}
		}
	}
	return 0
}
