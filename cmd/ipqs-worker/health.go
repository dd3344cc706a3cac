package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/config"
)

// maxState bounds what is read of an answer: ours are a few hundred bytes.
const maxState = 64 << 10

func (p *program) healthCommand() *cobra.Command {
	var live bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the worker on this machine how it is: the health check of a container",
		Long: `health asks the worker that runs on this machine, under the same configuration, whether it is ready to do jobs, at
/readyz on CONNECTOR_METRICS_PORT. With --live it asks /livez: whether the worker goes round at all, whoever else is away.

Exit status: 0 it is, 1 it is not, and says why; 2 wrong configuration.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := config.Load(config.Options{Path: p.configPath, PathSet: p.configPath != "", Environ: p.environ})
			if err != nil {
				return usage(err)
			}
			if c.Connector.MetricsPort == 0 {
				return usage(errors.New("CONNECTOR_METRICS_PORT is 0, so the worker's state is served nowhere: want a port"))
			}
			path := "/readyz"
			if live {
				path = "/livez"
			}
			address := "http://" + net.JoinHostPort(nearby(c.Worker.MetricsHost), strconv.Itoa(c.Connector.MetricsPort)) + path
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			state, err := askState(ctx, address)
			if err != nil {
				return &statusError{exitFailure, err}
			}
			if _, err := fmt.Fprintln(p.out, state); err != nil {
				return &statusError{exitFailure, err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "ask whether it lives instead of whether it is ready")
	cmd.Flags().DurationVar(&timeout, "timeout", 4*time.Second, "how long to wait for the answer")
	return cmd
}

// nearby returns the address to ask for a server that listens at host: one that listens everywhere is asked on loopback,
// by number, for not every container knows the name localhost.
func nearby(host string) string {
	switch ip := net.ParseIP(host); {
	case host == "", ip.Equal(net.IPv4zero):
		return "127.0.0.1"
	case ip.Equal(net.IPv6unspecified):
		return "::1"
	default:
		return host
	}
}

// askState returns a line about a worker that is well, and an error that says what is wrong with one that is not.
func askState(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("asking the worker: %w", err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is here
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking the worker: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxState))
	if err != nil {
		return "", fmt.Errorf("reading the worker's answer: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return strings.TrimSpace(string(body)), nil
	}
	return "", fmt.Errorf("the worker is not well: %s", reasons(response.StatusCode, body))
}

// reasons says what an answer of /livez or /readyz names as wrong.
func reasons(status int, body []byte) string {
	var state struct {
		Reason       string `json:"reason"`
		Dependencies map[string]struct {
			OK          bool   `json:"ok"`
			Informative bool   `json:"informative"`
			Reason      string `json:"reason"`
		} `json:"dependencies"`
	}
	if json.Unmarshal(body, &state) != nil {
		return fmt.Sprintf("HTTP %d", status)
	}
	var found []string
	for name, d := range state.Dependencies {
		if !d.OK && !d.Informative {
			found = append(found, name+": "+d.Reason)
		}
	}
	slices.Sort(found)
	if state.Reason != "" {
		found = append(found, state.Reason)
	}
	if len(found) == 0 {
		return fmt.Sprintf("HTTP %d", status)
	}
	return strings.Join(found, "; ")
}
