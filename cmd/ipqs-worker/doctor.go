package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/doctor"
)

func (p *program) doctorCommand() *cobra.Command {
	var output string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out why a worker could not work, and what to do about it",
		Long: `doctor checks, with the configuration of a worker and from where it runs: the configuration itself, OpenCTI and its
release, the token and what its user may do and see, the registration, RabbitMQ with TLS, login, permissions and queues, the
key and the credits of the IPQS account, the shared cache, and the clocks. Each line is ok, warn, fail or skipped, with what
to do about it.

It spends no credit and takes no job. It changes nothing in OpenCTI: it compares the connector's registration with the
configuration and lists the differences, which the next start of a worker with this configuration overwrites. In RabbitMQ it
declares a queue that is deleted when it ends. Workers may run beside it.

Exit status: 0 nothing fails, 1 something does.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := knownOutput(output); err != nil {
				return err
			}
			if timeout <= 0 {
				return usage(fmt.Errorf("--timeout is %v: want more than 0", timeout))
			}
			tell := func(doctor.Finding) {}
			if output == "table" {
				tell = p.tellFinding
			}
			c, warnings, err := config.Load(config.Options{Path: p.configPath, PathSet: p.configPath != "", Environ: p.environ})
			var findings []doctor.Finding
			if err != nil {
				findings = doctor.Misconfigured(err, warnings)
				for _, f := range findings {
					tell(f)
				}
			} else {
				findings = doctor.Run(cmd.Context(), doctor.Options{
					App:      app.Options{Config: c, Logger: slog.New(slog.DiscardHandler), Version: versionText()},
					Warnings: warnings, Timeout: timeout,
				}, tell)
			}
			if output == "json" {
				if err := writeJSON(p.out, findings...); err != nil {
					return &statusError{exitFailure, err}
				}
			}
			switch {
			case cmd.Context().Err() != nil:
				return &statusError{exitFailure, errors.New("interrupted: not everything was looked at")}
			case doctor.Failed(findings):
				return &statusError{exitFailure, errors.New("the worker could not work like this")}
			}
			return nil
		},
	}
	addOutput(cmd, &output)
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long each check may take")
	return cmd
}

// tellFinding writes a finding as a line, and its remedy below it.
func (p *program) tellFinding(f doctor.Finding) {
	const width = 80
	status := fmt.Sprintf("%-7s", f.Status)
	if p.coloured() {
		status = map[doctor.Status]string{doctor.OK: green, doctor.Warn: yellow, doctor.Fail: red, doctor.Skipped: faint}[f.Status] + status + plain
	}
	lead := strings.Repeat(" ", 23)
	_, _ = fmt.Fprintf(p.out, "%s %-14s %s\n", status, f.Check, strings.Join(wrapped(f.Found, width), "\n"+lead))
	if f.Remedy != "" {
		_, _ = fmt.Fprintf(p.out, "%s→ %s\n", lead, strings.Join(wrapped(f.Remedy, width-2), "\n"+lead+"  "))
	}
}

// wrapped breaks a text at its spaces into lines of at most width characters, but for words that are longer.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
