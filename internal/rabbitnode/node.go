//go:build unix

package rabbitnode

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"opencti-ipqs-worker/internal/freeport"
)

const (
	// startTimeout bounds one start: five seconds on an idle machine, half a minute on a busy one.
	startTimeout = 3 * time.Minute
	// stopTimeout is how long a node may take to stop in order before it is killed.
	stopTimeout = time.Minute
)

// Options says how a node is made. The zero value is a node with the broker's own defaults in a temporary directory.
type Options struct {
	// Dir holds all that the node writes, and is kept by Close. Empty means a temporary directory, removed by Close.
	Dir string
	// Config are further lines of rabbitmq.conf, such as "consumer_timeout = 5000".
	Config []string
	// Settings are values of the application rabbit that rabbitmq.conf has no line for, by name.
	Settings map[string]int
	// Plugins are the names of the plugins to enable, such as "rabbitmq_management".
	Plugins []string
	// TLS, if set, makes the node listen on a second port, for TLS alone.
	TLS *TLS
}

// TLS is the identity of a node's TLS listener. All fields are texts in PEM.
type TLS struct {
	// Cert and Key are the listener's own.
	Cert, Key string
	// ClientCA, if set, is the authority whose certificate every client must have.
	ClientCA string
}

// Node is one RabbitMQ node with its port mapper. Its methods may be called from several goroutines, one at a time.
type Node struct {
	installation installation
	options      Options
	membership   membership
	dir          string
	temporary    bool
	ports        ports

	mu     sync.Mutex
	reaper *reaper
	epmd   *process
	server *process
}

// Start makes a node and returns once it accepts connections on each of its listeners. The error is [ErrNotInstalled]
// where the machine has no RabbitMQ; any other one carries the end of the node's log. Whoever calls it calls Close.
func Start(ctx context.Context, options Options) (*Node, error) {
	n, err := newNode(options, membership{name: "rabbitnode@localhost", cookie: rand.Text()})
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// newNode makes a node that is still to be started.
func newNode(options Options, membership membership) (*Node, error) {
	installation, err := find()
	if err != nil {
		return nil, err
	}
	n := &Node{installation: installation, options: options, membership: membership, dir: options.Dir}
	if n.dir == "" {
		// Short, as Erlang makes sockets below it whose names may have 100 characters.
		if n.dir, err = os.MkdirTemp("", "rabbitnode"); err != nil {
			return nil, fmt.Errorf("making the node's directory: %w", err)
		}
		n.temporary = true
	}
	if n.dir, err = filepath.Abs(n.dir); err != nil {
		return nil, fmt.Errorf("finding the node's directory: %w", err)
	}
	if err := n.prepare(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// advanced writes advanced.config.
func (o Options) advanced() string {
	settings := make([]string, 0, len(o.Settings))
	for _, name := range slices.Sorted(maps.Keys(o.Settings)) {
		settings = append(settings, fmt.Sprintf("{%s, %d}", name, o.Settings[name]))
	}
	return fmt.Sprintf("[{rabbit, [%s]}].\n", strings.Join(settings, ", "))
}

// Name is what the node is called in its cluster, as in the answers of rabbitmqctl.
func (n *Node) Name() string { return n.membership.name }

// URL is the address for AMQP clients, with the broker's default user.
func (n *Node) URL() string {
	return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", n.ports.amqp)
}

// TLSAddr is the address and port of the TLS listener; without Options.TLS nobody listens there.
func (n *Node) TLSAddr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.ports.tls))
}

// Addr is the address and port of the AMQP listener.
func (n *Node) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.ports.amqp))
}

// Start starts a stopped or killed node again, on the port and with the data it had, and returns once it accepts
// connections on each of its listeners. A node that runs is left alone.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server.running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := n.startEPMD(ctx); err != nil {
		return err
	}
	if err := n.waitForPort(ctx); err != nil {
		return err
	}
	server, err := n.launch("server", filepath.Join(n.installation.bin, "rabbitmq-server"))
	if err != nil {
		return err
	}
	n.server = server
	err = poll(ctx, func() (bool, error) {
		if !server.running() {
			return false, errors.New("the node ended while starting")
		}
		// RabbitMQ opens its TLS listener after the other one.
		return speaksAMQP(n.Addr()) && (n.options.TLS == nil || listens(n.ports.tls)), nil
	})
	if err != nil {
		return fmt.Errorf("starting RabbitMQ on port %d: %w\n%s", n.ports.amqp, err, n.log())
	}
	return nil
}

// Stop ends the node in order and returns when its process is gone. Data, port and port mapper stay for Start.
func (n *Node) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	// The start script passes the signal on and waits for the node itself, which deletes its pid file long before it ends.
	return n.server.stop(stopTimeout)
}

// Kill ends the node as a power cut would (SIGKILL) and returns when its process is gone. RabbitMQ 3.10 then loses a queue
// that was declared in the moment before in one of ten cases, with what was confirmed to be in it: restart the node in order
// after declaring what a test wants to find again.
func (n *Node) Kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server.kill()
}

// Restart is Stop and Start.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Stop(); err != nil {
		return err
	}
	return n.Start(ctx)
}

// isRunning is for those who don't hold the lock.
func (n *Node) isRunning() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server.running()
}

// Close stops the node and its port mapper, and removes its directory if that was a temporary one.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.server.stop(stopTimeout)
	err = errors.Join(err, n.epmd.stop(5*time.Second))
	n.reaper.dismiss()
	err = errors.Join(err, n.ports.release())
	if n.temporary {
		err = errors.Join(err, os.RemoveAll(n.dir))
	}
	return err
}

// Ctl runs rabbitmqctl on the node and returns what it printed. It takes a second or more: it starts an Erlang machine.
func (n *Node) Ctl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(n.installation.bin, "rabbitmqctl"), args...)
	cmd.Env = n.environ()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.Bytes(), nil
}

// prepare writes the node's files and picks its ports.
func (n *Node) prepare() error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("making the node's directory: %w", err)
	}
	err := n.ports.take()
	if err != nil {
		return err
	}
	n.ports.epmd = cmp.Or(n.membership.epmd, n.ports.epmd)
	config := append([]string{
		fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d", n.ports.amqp),
		"log.console = false",
		"vm_memory_high_watermark.absolute = 1GiB",
		"disk_free_limit.absolute = 50MB",
	}, n.tlsConfig()...)
	config = append(config, n.membership.config()...)
	config = append(config, n.options.Config...)
	files := map[string]string{
		".erlang.cookie":  n.membership.cookie,
		"rabbitmq.conf":   strings.Join(config, "\n") + "\n",
		"advanced.config": n.options.advanced(),
		"env.conf":        "",
		"enabled_plugins": "[" + strings.Join(n.options.Plugins, ",") + "].\n",
	}
	if n.options.TLS != nil {
		files["tls-cert.pem"], files["tls-key.pem"] = n.options.TLS.Cert, n.options.TLS.Key
		// RabbitMQ wants a file of authorities in any case. The listener's own certificate is as good as none.
		files["tls-ca.pem"] = cmp.Or(n.options.TLS.ClientCA, n.options.TLS.Cert)
	}
	for name, content := range files {
		path := filepath.Join(n.dir, name)
		if _, err := os.Stat(path); name == ".erlang.cookie" && err == nil {
			continue // A directory used before: Erlang lets nobody write to its cookie.
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return fmt.Errorf("writing the node's configuration: %w", err)
		}
	}
	if n.reaper, err = newReaper(n.dir, n.temporary); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(n.dir, ".erlang.cookie"), 0o400)
}

// tlsConfig are the lines of rabbitmq.conf that make the TLS listener.
func (n *Node) tlsConfig() []string {
	if n.options.TLS == nil {
		return nil
	}
	lines := []string{
		fmt.Sprintf("listeners.ssl.1 = 127.0.0.1:%d", n.ports.tls),
		"ssl_options.certfile = " + filepath.Join(n.dir, "tls-cert.pem"),
		"ssl_options.keyfile = " + filepath.Join(n.dir, "tls-key.pem"),
		"ssl_options.cacertfile = " + filepath.Join(n.dir, "tls-ca.pem"),
	}
	if n.options.TLS.ClientCA != "" {
		return append(lines, "ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true")
	}
	return append(lines, "ssl_options.verify = verify_none", "ssl_options.fail_if_no_peer_cert = false")
}

// environ is the whole environment of the node and its tools: nothing of a system-wide RabbitMQ's settings gets in.
func (n *Node) environ() []string {
	in := func(name string) string { return filepath.Join(n.dir, name) }
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8",
		"HOME=" + n.dir, // The Erlang cookie is found there.
		"ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("ERL_EPMD_PORT=%d", n.ports.epmd),
		"RABBITMQ_NODENAME=" + n.membership.name,
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_NODE_PORT=%d", n.ports.amqp),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", n.ports.dist),
		"RABBITMQ_MNESIA_BASE=" + in("data"),
		"RABBITMQ_LOG_BASE=" + in("log"),
		"RABBITMQ_PID_FILE=" + in("pid"),
		"RABBITMQ_CONFIG_FILE=" + in("rabbitmq.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + in("advanced.config"),
		"RABBITMQ_CONF_ENV_FILE=" + in("env.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + in("enabled_plugins"),
		"RABBITMQ_GENERATED_CONFIG_DIR=" + in("generated"),
		// No listening on other addresses, no port mapper but ours, tables not sized by a huge file limit, and no busy
		// waiting: the tests run on the same cores.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false +Q 65536 " +
			"+sbwt none +sbwtdcpu none +sbwtdio none",
	}
}

// startEPMD starts the port mapper, which the node would else start as a daemon that nobody ends. In a cluster it waits for
// that of the first node.
func (n *Node) startEPMD(ctx context.Context) error {
	if n.membership.epmd != 0 {
		return poll(ctx, func() (bool, error) { return listens(n.ports.epmd), nil })
	}
	if n.epmd.running() {
		return nil
	}
	var err error
	n.epmd, err = n.launch("epmd", n.installation.epmd, "-address", "127.0.0.1", "-port", strconv.Itoa(n.ports.epmd))
	if err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		if !n.epmd.running() {
			return false, errors.New("starting Erlang's port mapper: it ended at once")
		}
		return listens(n.ports.epmd), nil
	})
}

// waitForPort waits until nobody holds the node's own ports: a taken distribution port ends the boot only after a minute.
func (n *Node) waitForPort(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) {
		return freeport.Free(n.ports.amqp) && freeport.Free(n.ports.dist) && freeport.Free(n.ports.tls), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for ports %d, %d and %d to be free: %w", n.ports.amqp, n.ports.dist, n.ports.tls, err)
	}
	return nil
}

// launch starts a program in a process group of its own, so that neither Ctrl-C in the terminal nor a signal to the test
// reaches it before it is stopped in order.
func (n *Node) launch(name, path string, args ...string) (*process, error) {
	out, err := os.Create(filepath.Join(n.dir, name+".out"))
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir = n.environ(), n.dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := newProcess(cmd)
	return p, n.reaper.watch(cmd.Process.Pid)
}

// log is the end of what the node printed and logged, for errors.
func (n *Node) log() string {
	paths, _ := filepath.Glob(filepath.Join(n.dir, "log", "*.log")) // The pattern is ours and well-formed.
	var b strings.Builder
	for _, path := range append(paths, filepath.Join(n.dir, "server.out")) {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		b.Write(content[max(0, len(content)-2000):])
	}
	return b.String()
}
