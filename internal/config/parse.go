package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/http/httpguts"
)

// The functions of this file read the values of options. Their errors end up in front of an operator, so none of them
// repeats the value, which may be a secret.

// errUnacceptable says that a value is not what the option accepts, with nothing to add.
var errUnacceptable = errors.New("not acceptable")

// maxPEM bounds what is read from the files that options name.
const maxPEM = 1 << 20

func parseText(v string) (string, error) {
	if strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", errors.New("it holds a character that cannot be printed")
	}
	return v, nil
}

// parseName wants what OpenCTI wants of a connector's name.
func parseName(v string) (string, error) {
	if len([]rune(v)) < 2 {
		return "", errUnacceptable
	}
	return parseText(v)
}

// parseID takes any identifier that can be part of a queue's name. AMQP gives that name 255 bytes; half is ours.
func parseID(v string) (string, error) {
	if len(v) > 128 {
		return "", errors.New("it is longer than 128 bytes")
	}
	if strings.ContainsFunc(v, unicode.IsSpace) {
		return "", errors.New("it holds a space")
	}
	return parseText(v)
}

// parseCredential takes what can be the value of an HTTP header.
func parseCredential(v string) (Secret, error) {
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Secret{}, errors.New("it holds a space, a line break or a character that no HTTP header may hold")
	}
	return NewSecret(v), nil
}

// parseBool takes what OpenCTI's helper takes (yes, true, True; no, false, False), in any case.
func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	default:
		return false, errUnacceptable
	}
}

func parseInt(least, most int) func(string) (int, error) {
	return func(v string) (int, error) {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return 0, errUnacceptable
		}
		return n, nil
	}
}

func parseDuration(least, most time.Duration) func(string) (time.Duration, error) {
	return func(v string) (time.Duration, error) {
		d, err := time.ParseDuration(v)
		if err != nil || d < least || d > most {
			return 0, errUnacceptable
		}
		return d, nil
	}
}

func parseOneOf(words ...string) func(string) (string, error) {
	return func(v string) (string, error) {
		i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, v) })
		if i < 0 {
			return "", errUnacceptable
		}
		return words[i], nil
	}
}

// parseEither takes one of two words, in any case, and returns whether it is the second.
func parseEither(first, second string) func(string) (bool, error) {
	return func(v string) (bool, error) {
		word, err := parseOneOf(first, second)(v)
		return word == second, err
	}
}

// parsePath takes the path of an address as a client sends it.
func parsePath(v string) (string, error) {
	if u, err := url.ParseRequestURI(v); err != nil || !strings.HasPrefix(v, "/") || u.RawQuery != "" || u.ForceQuery || strings.Contains(v, "#") {
		return "", errUnacceptable
	}
	return parseText(v)
}

// parseList splits a comma-separated list and drops empty entries.
func parseList(v string) ([]string, error) {
	var entries []string
	for entry := range strings.SplitSeq(v, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	if len(entries) == 0 {
		return nil, errUnacceptable
	}
	return entries, nil
}

// parseLevel takes the names of the levels that OpenCTI's connectors have.
func parseLevel(v string) (slog.Level, error) {
	switch strings.ToLower(v) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, errUnacceptable
	}
}

// levelsOfTLP lists the markings from the widest to the strictest.
func levelsOfTLP() []string {
	return []string{"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"}
}

// parseTLP takes a marking with or without "TLP:", in any case, and WHITE, as CLEAR was called before TLP 2.0.
func parseTLP(v string) (string, error) {
	level := "TLP:" + strings.TrimPrefix(strings.ToUpper(v), "TLP:")
	if level == "TLP:WHITE" {
		level = "TLP:CLEAR"
	}
	if !slices.Contains(levelsOfTLP(), level) {
		return "", errUnacceptable
	}
	return level, nil
}

// parseURL takes an address of HTTP without what would be secret or would not survive a path put after it.
func parseURL(v string) (string, error) {
	u, err := url.Parse(v)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", errUnacceptable
	case u.User != nil:
		return "", errors.New("it holds a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("it holds a query or fragment")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// parseHeaders takes "Name:value;Name:value", as OpenCTI's helper does.
func parseHeaders(v string) (map[string]Secret, error) {
	headers := make(map[string]Secret)
	for i, pair := range strings.Split(v, ";") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok {
			return nil, fmt.Errorf("entry %d has no colon", i+1)
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("entry %d is no HTTP header", i+1)
		}
		headers[name] = NewSecret(value)
	}
	return headers, nil
}

// parsePEM takes a text in PEM or the path of a file that holds one, and returns the text.
func parsePEM(v string) (string, error) {
	text := v
	if !strings.Contains(v, "-----BEGIN") {
		var err error
		if text, err = readSmallFile(v); err != nil {
			return "", err
		}
	}
	if block, _ := pem.Decode([]byte(text)); block == nil {
		return "", errors.New("it holds no PEM block")
	}
	return text, nil
}

func parseSecretPEM(v string) (Secret, error) {
	text, err := parsePEM(v)
	return NewSecret(text), err
}

// parseCA takes PEM that holds at least one certificate.
func parseCA(v string) (string, error) {
	text, err := parsePEM(v)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		err = errors.New("it holds no certificate")
	}
	return text, err
}

// readSmallFile reads a regular file. Its errors do not name it: where a key was expected, the "path" may be the key.
func readSmallFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", withoutPath(err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPEM {
		return "", fmt.Errorf("it is no regular file of at most %d bytes", maxPEM)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return "", withoutPath(err)
	}
	return string(text), nil
}

func withoutPath(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return errors.New("it cannot be read")
}

// optional makes a parser whose result has an address, for options that can be unset.
func optional[T any](parse func(string) (T, error)) func(string) (*T, error) {
	return func(v string) (*T, error) {
		t, err := parse(v)
		if err != nil {
			return nil, err
		}
		return &t, nil
	}
}
