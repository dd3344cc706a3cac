package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// dockerfile parses a file as BuildKit does and reports every warning of its linter, and what an image of ours must not be
// without: a last stage from scratch, a user by number who is not root, a health check without a shell.
func dockerfile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("parsing %s: %w", path, err)
	}
	var problems []error
	report := func(line int, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s:%d: %s", path, line, fmt.Sprintf(format, args...)))
	}
	for _, w := range parsed.Warnings {
		report(w.Location.Start.Line, "%s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{
		Warn: func(rule, _, _, message string, at []parser.Range) {
			line := 0
			if len(at) > 0 {
				line = at[0].Start.Line
			}
			report(line, "%s (%s)", message, rule)
		},
	}))
	if err != nil {
		return fmt.Errorf("parsing %s: %w", path, err)
	}
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		report(last.Location[0].Start.Line, "the last stage is from %s, want scratch", last.BaseName)
	}
	var user string
	var checked bool
	for _, command := range last.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.HealthCheckCommand:
			checked = len(c.Health.Test) > 0 && c.Health.Test[0] == "CMD"
		case *instructions.RunCommand:
			report(c.Location()[0].Start.Line, "the last stage runs something, and has no shell to do it")
		default:
		}
	}
	if user != "65532:65532" {
		report(0, "the user is %q, want 65532:65532", user)
	}
	if !checked {
		report(0, "there is no health check of the form CMD [...]")
	}
	return errors.Join(problems...)
}
