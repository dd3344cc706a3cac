package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
)

// Error is a configuration that cannot be used. Its text has one problem a line, and all of them. Problems are of type
// *KeyError or *FileError.
type Error struct {
	Problems []error
}

// Error returns every problem, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("the configuration cannot be used:")
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.Error())
	}
	return b.String()
}

// Unwrap returns the problems.
func (e *Error) Unwrap() []error { return e.Problems }

// KeyError is one option that cannot be used, or is missing.
type KeyError struct {
	// Env is the option's variable and YAML its key in config.yml. Env is empty where a whole section is wrong, YAML for an
	// option that is a variable only.
	Env, YAML string
	// Found is what was found, quoted, as [REDACTED] for a secret, and where; empty for an option that is not set.
	Found string
	// Want is what is expected.
	Want string
}

// Error returns for example `MQ_PORT (mq.port): found "x" in the environment, want a whole number from 1 to 65535`.
func (e *KeyError) Error() string {
	name := e.YAML
	switch {
	case e.YAML == "":
		name = e.Env
	case e.Env != "":
		name = e.Env + " (" + e.YAML + ")"
	}
	if e.Found == "" {
		return name + ": not set, want " + e.Want
	}
	return name + ": found " + e.Found + ", want " + e.Want
}

// FileError is a configuration file that cannot be read, or that is not YAML.
type FileError struct {
	Path string
	Err  error
}

// Error names the file and what is wrong with it.
func (e *FileError) Error() string {
	if path, ok := errors.AsType[*fs.PathError](e.Err); ok { // its text repeats the file's name
		return fmt.Sprintf("reading configuration file %s: %v", e.Path, path.Err)
	}
	return fmt.Sprintf("reading configuration file %s: %v", e.Path, e.Err)
}

// Unwrap returns why the file cannot be read.
func (e *FileError) Unwrap() error { return e.Err }

// Warning is something odd in the configuration that the worker can live with.
type Warning struct {
	// Level is [slog.LevelWarn] for what is probably a mistake, [slog.LevelInfo] for what is merely without effect.
	Level slog.Level
	// Name is the variable, or the key in config.yml, that the warning is about.
	Name string
	// Text says what is odd and what the worker does about it. It holds no secret.
	Text string
}

// String returns the name and the text.
func (w Warning) String() string { return w.Name + ": " + w.Text }
