//go:build unix

// Command withnode runs another command with the address of a RabbitMQ node in TEST_AMQP_URL:
//
//	go run ./internal/rabbitnode/withnode -- go test ./...
//
// It takes the node that TEST_AMQP_URL already names, else starts a private one from the installed rabbitmq-server, else
// installs the Debian package where it may (as root, with apt-get), else says what to do. A service that the machine runs
// is never used, started or changed, and what withnode started is stopped when the command has ended. It ends with the
// command's exit status, or 128 and the signal's number if a signal ended it.
//
// With -redis it installs redis-server in the same way, where neither that nor valkey-server is there; who needs one starts
// it with package redisnode.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"opencti-ipqs-worker/internal/rabbitnode"
)

// urlVariable names the environment variable that tests read.
const urlVariable = "TEST_AMQP_URL"

// exitCannot is the status if the command was never run, as that of env(1) and nohup(1).
const exitCannot = 125

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	redis := len(args) > 0 && args[0] == "-redis"
	if redis {
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: withnode [-redis] [--] command [argument ...]")
		return exitCannot
	}
	// From here on a signal ends the command, and withnode in order after it.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)

	if redis {
		if err := stoppable(signals, installRedis); err != nil {
			fmt.Fprintf(os.Stderr, "withnode: %v\n", err)
			return exitCannot
		}
	}
	if os.Getenv(urlVariable) == "" {
		node, err := start(signals)
		if err != nil {
			fmt.Fprintf(os.Stderr, "withnode: %v\n", err)
			return exitCannot
		}
		defer func() {
			if err := node.Close(); err != nil {
				fmt.Fprintf(os.Stderr, "withnode: %v\n", err)
			}
		}()
		if err := os.Setenv(urlVariable, node.URL()); err != nil {
			fmt.Fprintf(os.Stderr, "withnode: %v\n", err)
			return exitCannot
		}
	}
	return command(args, signals)
}

// start provides a node, installing RabbitMQ first if that is needed and possible.
func start(signals <-chan os.Signal) (node *rabbitnode.Node, err error) {
	err = stoppable(signals, func(ctx context.Context) error {
		node, err = started(ctx)
		return err
	})
	return node, err
}

// stoppable calls do with a context that a signal ends.
func stoppable(signals <-chan os.Signal, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case s := <-signals:
			cancel(fmt.Errorf("stopped by %v", s))
		case <-ctx.Done():
		}
	}()
	return do(ctx)
}

func started(ctx context.Context) (*rabbitnode.Node, error) {
	if !rabbitnode.Installed() {
		if err := install(ctx); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	node, err := rabbitnode.Start(ctx, rabbitnode.Options{})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "withnode: private RabbitMQ node at %s, ready after %.1fs\n",
		node.Addr(), time.Since(began).Seconds())
	return node, nil
}

// command runs args with our streams, passes signals on, and returns the exit status.
func command(args []string, signals <-chan os.Signal) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "withnode: %v\n", err)
		return exitCannot
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // It fails only for a command that has just ended.
		case err := <-done:
			return status(err)
		}
	}
}

// status is what a shell would make of the way a command ended.
func status(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		fmt.Fprintf(os.Stderr, "withnode: %v\n", err)
		return exitCannot
	}
	if wait, ok := exit.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return 128 + int(wait.Signal())
	}
	return exit.ExitCode()
}
