package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/observable"
)

func (p *program) enrichCommand() *cobra.Command {
	var typeName, file, output string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "enrich VALUE… | --file FILE | -",
		Short: "Look observables up right now, without OpenCTI and without a broker",
		Long: `enrich sends each value through the same five steps as the connector, in this process, and prints what came of it. The
type of a value is seen from the value; --type names it where that is not so. It needs IPQS_PRIVATE_KEY only. Each lookup
costs a credit: a value given twice, letter by letter, is looked up once, and when any value is none of its type nothing is
looked up at all. Interrupted, it prints what was answered by then.

Private addresses, internal host names, networks and what IPQS_EXCLUDE lists are not sent. Their results name the reason, and
the exit status is 1. This command does not accept a name with a single label ("wiki") as a domain name: it exits with 2.

With --type User-Account the values are logins, which are looked for in leaks. With --type Artifact they are paths of files,
which are sent to IPQS to be scanned; that wants IPQS_ARTIFACT_SCAN=true, and takes as long as the scans do.

Input: values as arguments, or one a line from --file FILE or from standard input (-). Empty lines and lines that begin
with # are passed over.

Output: a table; with --output json one object a line for each value; with --output stix one STIX 2.1 bundle.`,
		Example: `  ipqs-worker enrich 198.51.100.7 user@example.com +18005550100
  ipqs-worker enrich --type Phone-Number '(0800) 555 0100'
  ipqs-worker enrich --type User-Account jdoe
  ipqs-worker enrich --file observables.txt --output stix > bundle.json
  printf 'example.com\n' | ipqs-worker enrich - --output json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			render, ok := renderers[output]
			if !ok {
				return usage(fmt.Errorf("--output is %q: want table, json or stix", output))
			}
			observables, err := p.observables(args, file, typeName)
			if err != nil {
				return usage(err)
			}
			c, logger, err := p.configure(config.ForEnrich)
			if err != nil {
				return err
			}
			if !verbose {
				logger = slog.New(slog.DiscardHandler) // what came of each value is in the results
			}
			var shown *progress
			if !verbose { // the log would run into it
				shown = p.progress(cmd, distinct(observables))
			}
			results, err := app.EnrichAll(cmd.Context(), app.EnrichOptions{
				Config: c, Logger: logger, Version: versionText(), Done: func(app.Result) { shown.step() },
			}, observables)
			shown.done()
			if err != nil && !errors.Is(err, context.Canceled) {
				return ended(err)
			}
			if err := render(p.out, results, p.coloured()); err != nil {
				return &statusError{exitFailure, fmt.Errorf("writing the results: %w", err)}
			}
			return unanswered(results)
		},
	}
	cmd.Flags().StringVarP(&typeName, "type", "t", "", "type of every value: "+strings.Join(observable.Types(), ", "))
	addFile(cmd, &file, "file with one value a line")
	addBar(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or stix")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log to standard error what happens, as far as CONNECTOR_LOG_LEVEL says")
	return cmd
}

// distinct is how many observables there are to look up.
func distinct(observables []observable.Observable) int {
	all := make(map[observable.Observable]bool, len(observables))
	for _, o := range observables {
		all[o] = true
	}
	return len(all)
}

// unanswered is the error of a run in which some values got no answer; the results name them.
func unanswered(results []app.Result) error {
	var failed int
	for _, r := range results {
		if r.Failed() {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return &statusError{exitFailure, fmt.Errorf("%d of %d values got no answer", failed, len(results))}
}

// maxLine bounds a value; IPQS would refuse a longer one, and no observable is.
const maxLine = 1 << 20

// observables reads the input. It names every value that is no observable, with its line.
func (p *program) observables(args []string, file, typeName string) ([]observable.Observable, error) {
	if file == "" && len(args) == 1 && args[0] == "-" {
		args, file = nil, "-"
	}
	switch {
	case file == "" && len(args) == 0:
		return nil, errors.New("nothing to look up: give values, --file FILE, or - for standard input")
	case file != "" && len(args) > 0:
		return nil, errors.New("values come from arguments, from a file or from standard input: give one of the three")
	case slices.Contains(args, "-"):
		return nil, errors.New("- stands for standard input and comes alone: values come from there or from arguments")
	case file == "":
		return parse(args, "argument", typeName)
	}
	lines, err := p.lines(file)
	if err != nil {
		return nil, err
	}
	found, err := parse(lines, "line", typeName)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s holds no value: want one a line", source(file))
	}
	return found, err
}

func (p *program) lines(file string) ([]string, error) {
	from := p.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading the values: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	var lines []string
	scanner := bufio.NewScanner(from)
	scanner.Buffer(make([]byte, 0, 64<<10), maxLine)
	for scanner.Scan() {
		lines = append(lines, strings.TrimSuffix(scanner.Text(), "\r"))
	}
	if err := scanner.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("line %d is longer than %d bytes", len(lines)+1, maxLine)
		}
		return nil, fmt.Errorf("reading %s: %w", source(file), err)
	}
	if len(lines) > 0 {
		lines[0] = strings.TrimPrefix(lines[0], "\ufeff") // a byte order mark, as editors on Windows leave it
	}
	return lines, nil
}

func source(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

func parse(values []string, where, typeName string) ([]observable.Observable, error) {
	var found []observable.Observable
	var problems []string
	for i, value := range values {
		if where == "line" && (strings.TrimSpace(value) == "" || strings.HasPrefix(value, "#")) {
			continue
		}
		value = strings.TrimSpace(value)
		o, err := observable.Detect(value)
		if typeName != "" {
			o, err = observable.Parse(typeName, value)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s %d: %v", where, i+1, err))
			if _, ok := errors.AsType[*observable.Error](err); !ok {
				return nil, err // an unknown type is as wrong for every value
			}
			continue
		}
		found = append(found, o)
	}
	if len(problems) > 0 {
		return nil, errors.New("nothing was looked up:\n  " + strings.Join(problems, "\n  "))
	}
	return found, nil
}
