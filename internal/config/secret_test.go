package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
)

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	const text = "hunter2"
	type holder struct {
		Public  Secret
		private Secret
		pointer *Secret
		list    map[string]Secret
	}
	s := NewSecret(text)
	h := holder{Public: s, private: s, pointer: &s, list: map[string]Secret{"a": s}}
	c := defaults()
	c.MQ.Pass, c.OpenCTI.CustomHeaders = s, map[string]Secret{"Authorization": s}

	shown := map[string]string{}
	for _, v := range []any{s, &s, []Secret{s}, h, &h, c, &c, struct{ s Secret }{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			shown[fmt.Sprintf("%s of %T", verb, v)] = fmt.Sprintf(verb, v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Errorf("json.Marshal(%T) error = %v", v, err)
		}
		shown[fmt.Sprintf("JSON of %T", v)] = string(b)
		b, err = yaml.Parser().Marshal(map[string]any{"v": v})
		if err != nil {
			t.Errorf("yaml Marshal(%T) error = %v", v, err)
		}
		shown[fmt.Sprintf("YAML of %T", v)] = string(b)
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", slog.Any("v", v))
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", slog.Any("v", v))
		shown[fmt.Sprintf("log of %T", v)] = log.String()
	}
	for how, got := range shown {
		if strings.Contains(got, text) || strings.Contains(got, fmt.Sprintf("%x", text)) {
			t.Errorf("%s = %s, want no secret in it", how, got)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, s); got != "[REDACTED]" {
			t.Errorf("Sprintf(%q) = %s, want [REDACTED]", verb, got)
		}
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	if got := NewSecret("a").Reveal(); got != "a" {
		t.Errorf("Reveal() = %q, want a", got)
	}
	if got := (Secret{}).Reveal(); got != "" {
		t.Errorf("Reveal() of the zero Secret = %q, want nothing", got)
	}
	if !(Secret{}).IsZero() || !NewSecret("").IsZero() || NewSecret("a").IsZero() {
		t.Error("IsZero() does not tell an empty secret from another")
	}
	if !NewSecret("a").Equal(NewSecret("a")) || NewSecret("a").Equal(NewSecret("b")) {
		t.Error("Equal() does not compare the texts")
	}
}
