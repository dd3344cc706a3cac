//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/redisnode"
)

// policyPath is asked by Debian's packages before they start or stop a service; status 101 forbids it.
// See /usr/share/doc/init-system-helpers/README.policy-rc.d.gz.
const policyPath = "/usr/sbin/policy-rc.d"

// errByHand tells what to do where we may not.
var errByHand = errors.New(`no RabbitMQ for the tests. One of these helps:
  - install the server: "sudo apt-get install rabbitmq-server", "brew install rabbitmq" (it need not run as a service), or
  - name a running one: ` + urlVariable + `=amqp://user:password@host:5672/`)

// install installs Debian's rabbitmq-server without its service: that is neither started now nor enabled for later.
func install(ctx context.Context) error {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return errByHand
	}
	if err := installPackage(ctx, apt, "rabbitmq-server"); err != nil {
		return fmt.Errorf("%w\n%w", err, errByHand)
	}
	// The package enables its services for the next boot; it was not asked for that.
	optional(ctx, "systemctl", "disable", "rabbitmq-server.service", "epmd.socket", "epmd.service")
	optional(ctx, "update-rc.d", "rabbitmq-server", "disable")
	if !rabbitnode.Installed() {
		return fmt.Errorf("the package rabbitmq-server was installed, but: %w", rabbitnode.ErrNotInstalled)
	}
	return nil
}

// installRedis does the same for redis-server, as far as it may: who needs one finds out whether it is there.
func installRedis(ctx context.Context) error {
	apt, err := exec.LookPath("apt-get")
	if redisnode.Installed() || err != nil || os.Geteuid() != 0 {
		return nil //nolint:nilerr // it may not
	}
	if err := installPackage(ctx, apt, "redis-server"); err != nil {
		fmt.Fprintf(os.Stderr, "withnode: no Redis for the tests that need one: %v\n", err)
		return context.Cause(ctx)
	}
	optional(ctx, "systemctl", "disable", "redis-server.service")
	optional(ctx, "update-rc.d", "redis-server", "disable")
	return nil
}

// installPackage installs a package of Debian's, without starting its service.
func installPackage(ctx context.Context, apt, name string) error {
	unguard, err := forbidServices()
	if err != nil {
		return err
	}
	defer unguard()
	fmt.Fprintf(os.Stderr, "withnode: installing the package %s, without its service\n", name)
	packages := []string{
		"install", "-y", "-q", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=300", // Somebody else may be installing something.
		name,
	}
	if err := quietly(ctx, apt, packages...); err != nil {
		// Most often the package lists are old or were never fetched.
		if err := quietly(ctx, apt, "update", "-q"); err != nil {
			return err
		}
		return quietly(ctx, apt, packages...)
	}
	return nil
}

// forbidServices makes Debian's packages start no service until the function it returns is called. A policy that forbids
// it already, as in containers, stays; another one is set aside meanwhile.
func forbidServices() (restore func(), err error) {
	aside := ""
	if _, err := os.Stat(policyPath); err == nil {
		var exit *exec.ExitError
		if errors.As(exec.Command(policyPath, "rabbitmq-server", "start").Run(), &exit) && exit.ExitCode() == 101 {
			return func() {}, nil
		}
		aside = policyPath + ".withnode"
		if err := os.Rename(policyPath, aside); err != nil {
			return nil, fmt.Errorf("setting the policy for services aside: %w", err)
		}
	}
	restore = func() {
		err := os.Remove(policyPath)
		if aside != "" {
			err = os.Rename(aside, policyPath)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "withnode: restoring %s: %v\n", policyPath, err)
		}
	}
	if err := os.WriteFile(policyPath, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
		restore()
		return nil, fmt.Errorf("forbidding the package to start its service: %w", err)
	}
	return restore, nil
}

// quietly runs a command and shows its output only if it fails.
func quietly(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	// Killed outright, a package manager would leave half an installation and its locks.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s %s: %w\n%s", name, args[0], err, out)
	}
	return nil
}

// optional runs a command that not every system has, and whose failure changes nothing for the tests.
func optional(ctx context.Context, name string, args ...string) {
	if _, err := exec.LookPath(name); err == nil {
		_ = exec.CommandContext(ctx, name, args...).Run()
	}
}
