package config

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// DefaultPath is where the configuration file is looked for when nobody says.
const DefaultPath = "config.yml"

// Options says what to load.
type Options struct {
	// Path is the configuration file; empty means [DefaultPath].
	Path string
	// PathSet says that somebody asked for this very file, so that it is an error when it does not exist.
	PathSet bool
	// Environ holds the variables, as [os.Environ] gives them.
	Environ []string
	// Require says what the configuration is for; its zero value is [ForRun].
	Require Purpose
}

// Load reads the configuration and checks it. The error is of type *[Error] and names every problem; the warnings are
// good with an error, too.
func Load(o Options) (Config, []Warning, error) {
	if o.Path == "" {
		o.Path = DefaultPath
	}
	return load(o, file.Provider(o.Path))
}

// source is one place that options come from, with the words for it.
type source struct {
	*koanf.Koanf
	where string
}

func load(o Options, provider koanf.Provider) (Config, []Warning, error) {
	table := Table()
	fromFile, err := readFile(o, provider)
	if err != nil {
		// Without the file, every option that it sets would be called missing: say this alone.
		return Config{}, nil, &Error{Problems: []error{&FileError{Path: o.Path, Err: withoutValues(err)}}}
	}
	problems := takeMisshapen(fromFile, table, o.Require)
	fromEnv, err := readEnviron(table, o.Environ)
	if err != nil {
		return Config{}, nil, fmt.Errorf("reading the environment: %w", err)
	}
	merged, err := merge(table, fromFile.Koanf, fromEnv.Koanf)
	if err != nil {
		return Config{}, nil, fmt.Errorf("merging configuration: %w", err)
	}

	var (
		c     Config
		wrong []string
	)
	for _, option := range table {
		src, value := fromFile, merged.Get(option.path())
		if fromEnv.Exists(option.path()) {
			src = fromEnv
		} else if option.EnvOnly {
			value = option.Default // whatever the file says
		}
		if option.For < o.Require {
			value, option.Required = option.Default, false
		}
		if p := setOption(&c, option, value, src.where); p != nil {
			problems, wrong = append(problems, p), append(wrong, option.Env)
		}
	}
	warnings := checkNames(table, o.Environ, fromFile.Keys())
	w, p := check(&c, o.Require, wrong)
	warnings, problems = append(warnings, w...), append(problems, p...)
	if len(problems) > 0 {
		return Config{}, warnings, &Error{Problems: problems}
	}
	return c, warnings, nil
}

// setOption stores the value of an option in c, or returns what is wrong with it. A value of nil, "" or spaces counts as
// not set.
func setOption(c *Config, o Option, value any, where string) error {
	problem := func(found string) error {
		return &KeyError{Env: o.Env, YAML: o.YAML(), Found: found, Want: o.Accepts}
	}
	text, shape := asText(value, o.Kind)
	switch {
	case shape != "":
		return problem(shape + " " + where)
	case strings.TrimSpace(text) == "" && o.Required:
		return problem("")
	case strings.TrimSpace(text) == "":
		return nil
	case o.Required && isPlaceholder(text):
		return problem("the placeholder ChangeMe " + where)
	}
	if err := o.set(c, text); err != nil {
		found := quote(text)
		if o.Secret || o.Kind == URL && strings.ContainsAny(text, "@?#") || strings.Contains(text, "-----BEGIN") {
			found = redacted // a URL with a password in it, a key where a certificate belongs
		}
		if !errors.Is(err, errUnacceptable) {
			found += " (" + err.Error() + ")"
		}
		return problem(found + " " + where)
	}
	return nil
}

// isPlaceholder tells whether v is what OpenCTI's examples have where a value of one's own belongs: ChangeMe,
// ChangeMe_UUIDv4, <change-me>.
func isPlaceholder(v string) bool {
	plain := strings.NewReplacer("<", "", "_", "", "-", "", " ", "").Replace(strings.ToLower(v))
	return strings.HasPrefix(plain, "changeme")
}

// quote returns v in quotes, on one line, and not longer than a line wants to be.
func quote(v string) string {
	const most = 60
	if runes := []rune(v); len(runes) > most {
		v = string(runes[:most]) + "…"
	}
	return strconv.Quote(v)
}

// asText returns a value as it would be written in a variable, or says what it is instead. YAML turns what looks like a
// number or date into one and forgets how it was written (a key of digits only becomes 1.2e+31), so these are good only
// where a number is wanted.
func asText(value any, kind Kind) (text, shape string) {
	switch v := value.(type) {
	case nil:
		return "", ""
	case string:
		return v, ""
	case bool:
		if kind == Bool {
			return strconv.FormatBool(v), ""
		}
		return "", "a YAML boolean (put it in quotes)"
	case int, int64, uint64, float64:
		if kind == Number || kind == Scores {
			return fmt.Sprint(v), ""
		}
		return "", "a YAML number (put it in quotes)"
	case time.Time:
		return "", "a YAML date (put it in quotes)"
	case []any:
		if kind != List {
			return "", "a YAML list"
		}
		entries := make([]string, len(v))
		for i, entry := range v {
			if entries[i], shape = asText(entry, Text); shape != "" {
				return "", "a YAML list with " + shape
			}
		}
		return strings.Join(entries, ","), ""
	default:
		return "", "a YAML section"
	}
}

// takeMisshapen removes from the file what would confuse the merging: empty values, a text where a section is expected
// (a problem), and a section where a value is expected (a problem too).
func takeMisshapen(f source, table []Option, purpose Purpose) []error {
	var problems []error
	for _, section := range sections(table) {
		value := f.Get(section)
		if _, ok := value.(map[string]any); value == nil || ok {
			continue
		}
		f.Delete(section)
		problems = append(problems, &KeyError{
			YAML: section, Found: "a single value or list " + f.where,
			Want: "a section, with keys under it",
		})
	}
	for _, o := range table {
		section, ok := f.Get(o.path()).(map[string]any)
		if !ok || o.EnvOnly {
			continue
		}
		f.Delete(o.path())
		if len(section) > 0 && o.For >= purpose {
			problems = append(problems, &KeyError{
				Env: o.Env, YAML: o.YAML(), Found: "a YAML section " + f.where, Want: o.Accepts,
			})
		}
	}
	for _, key := range f.Keys() {
		value := f.Get(key)
		section, isSection := value.(map[string]any)
		if value == nil || value == "" || isSection && len(section) == 0 {
			f.Delete(key)
		}
	}
	return problems
}

// readFile reads the configuration file. One that nobody asked for may be absent.
func readFile(o Options, provider koanf.Provider) (source, error) {
	s := source{koanf.New("."), "in " + o.Path}
	raw := koanf.New(".")
	err := raw.Load(provider, yaml.Parser())
	switch {
	case !o.PathSet && errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, err
	}
	// The way round makes "mq.host: x" the same as host in the section mq.
	return s, s.Load(confmap.Provider(raw.All(), "."), nil)
}

// readEnviron reads the variables of the table's options; an empty one counts as not set.
func readEnviron(table []Option, environ []string) (source, error) {
	keys := make(map[string]string, len(table))
	for _, o := range table {
		keys[o.Env] = o.path()
	}
	for before, now := range renamed() {
		if !slices.ContainsFunc(environ, func(v string) bool {
			name, value, _ := strings.Cut(v, "=")
			return name == now && strings.TrimSpace(value) != ""
		}) {
			keys[before] = keys[now]
		}
	}
	s := source{koanf.New("."), "in the environment"}
	return s, s.Load(env.Provider(".", env.Opt{
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if strings.TrimSpace(value) == "" {
				return "", nil
			}
			return keys[name], value
		},
	}), nil)
}

// merge lays the file over the defaults, and the environment over both.
func merge(table []Option, fromFile, fromEnv *koanf.Koanf) (*koanf.Koanf, error) {
	defaults := make(map[string]any, len(table))
	for _, o := range table {
		defaults[o.path()] = o.Default
	}
	merged := koanf.New(".")
	return merged, errors.Join(
		merged.Load(confmap.Provider(defaults, "."), nil),
		merged.Merge(fromFile),
		merged.Merge(fromEnv),
	)
}

// anchor matches the one piece of a file that a YAML syntax error repeats and that can be a secret: a token that begins
// with * looks like the name of an anchor.
var anchor = regexp.MustCompile(`anchor '[^']*'`)

// withoutValues returns why the file cannot be used, in a text that repeats no value of it.
func withoutValues(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if list, ok := strings.CutPrefix(text, "unmarshal errors:\n  "); ok {
		text, _, _ = strings.Cut(list, "\n")
		if line, _, ok := strings.Cut(text, ": cannot unmarshal"); ok { // what follows repeats the start of a value
			text = line + ": found something else where keys with values are expected"
		}
	}
	if strings.HasPrefix(text, "invalid map key") {
		text = "a list or section is used as a key"
	}
	return fmt.Errorf("not usable YAML: %s", anchor.ReplaceAllString(text, "anchor"))
}
