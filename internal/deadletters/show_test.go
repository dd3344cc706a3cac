package deadletters_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/pipeline"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func show(t *testing.T, msg *message.Message) string {
	t.Helper()
	var out bytes.Buffer
	if err := deadletters.Show(&out, pipeline.ReadDeadLetter("lookup.poison", msg), now); err != nil {
		t.Fatalf("Show() = %v", err)
	}
	return out.String()
}

func TestShow(t *testing.T) {
	t.Parallel()
	golden(t, "show.golden.txt", show(t, letter("01K9Z8Q4M3TBV5E2CJ6W7XN0RA", "lookup", "invalid_value", "IPv4-Addr", 76*time.Hour)))
}

func TestTable(t *testing.T) {
	t.Parallel()
	s, b := newStore()
	b.queues["lookup.poison"][1].Metadata.Set(pipeline.DeadLetterError, strings.Repeat("long ", 40))
	b.queues["score.poison"] = []*message.Message{message.NewMessage("S1", nil)}
	var table, lines bytes.Buffer
	row, flush := deadletters.WriteTable(&table, now)
	if _, err := s.List(t.Context(), deadletters.Filter{}, row); err != nil {
		t.Fatal(err)
	}
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.golden.txt", table.String())

	if _, err := s.List(t.Context(), deadletters.Filter{}, deadletters.WriteJSON(&lines)); err != nil {
		t.Fatal(err)
	}
	golden(t, "list.golden.jsonl", lines.String())
	for line := range strings.Lines(lines.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%s is no JSON", line)
		}
	}
}

// What a letter says does nothing to a terminal.
func TestNothingForTheTerminal(t *testing.T) {
	t.Parallel()
	const evil = "\x1b]0;owned\x07 \u202e \u009b2J\n"
	msg := letter("evil"+evil, "lookup", "reason"+evil, "type"+evil, time.Hour)
	msg.Metadata.Set(pipeline.DeadLetterError, evil)
	msg.Metadata.Set("key"+evil, evil)
	for _, body := range []string{evil, `{"value":"` + "\u202e \u009b2J" + `","\u001b":"\u001b\u0007"}`, "\xff\xfe"} {
		msg.Payload = []byte(body)
		var table bytes.Buffer
		row, flush := deadletters.WriteTable(&table, now)
		if err := row(pipeline.ReadDeadLetter("lookup.poison", msg)); err != nil {
			t.Fatal(err)
		}
		if err := flush(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(table.String(), "\n"); n != 2 {
			t.Errorf("the table has %d lines, want 2:\n%q", n, table.String())
		}
		for _, text := range []string{table.String(), show(t, msg)} {
			if !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\x07\u202e\u009b") || !strings.Contains(text, `\x1b]0;owned`) {
				t.Errorf("with body %q: %q has control characters, or lacks them in print", body, text)
			}
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	const secret = "planted-4b7e90aa"
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0." + secret
	tests := []struct{ name, entityType, body, shown string }{
		{"a key of JSON", "Url", `{"password":"` + secret + `","shown":"this"}`, `"shown": "this"`},
		{"another", "Url", `{"a":[{"X-Api-Key":"` + secret + `"}],"shown":1}`, `"shown": 1`},
		{"a number", "Url", `{"a":{"access_token":12340987}}`, "access_token"},
		{"a parameter", "Url", `{"value":"https://example.com/?user=ann&token=` + secret + `&x=1"}`, "https://example.com/?user=ann&token=[REDACTED]&x=1"},
		{"a password in a URL", "Url", `{"value":"https://ann:` + secret + `@example.com/x"}`, "https://ann:[REDACTED]@example.com/x"},
		{"a bearer", "Url", `{"note":"Authorization: Bearer ` + secret + ` was sent"}`, "Bearer [REDACTED] was sent"},
		{"a web token", "Url", `{"value":"x ` + jwt + ` y"}`, "x [REDACTED] y"},
		{"a private key", "Url", `{"value":"-----BEGIN PRIVATE KEY-----\n` + secret + `\n-----END PRIVATE KEY-----\nrest"}`, "[REDACTED]\\nrest"},
		{"JSON in JSON", "Url", `{"stix_entity":"{\"secret\":\"` + secret + `\",\"type\":\"url\"}"}`, `\"type\":\"url\"`},
		{"no JSON", "Url", "password=" + secret + " and so on", "password=[REDACTED] and so on"},
		{"an account", "User-Account", `{"entity":{"value":"` + secret + `","id":"e-1"}}`, `"id": "e-1"`},
		{"an account by its own type", "", `{"event":{"stix_entity":"{\"type\":\"user-account\",\"account_login\":\"` + secret + `\"}"}}`, "user-account"},
		{"an account named elsewhere", "User-Account", `{"a":"about ` + secret + `!","entity":{"type":"User-Account","value":"` + secret + `"}}`, "about [REDACTED]!"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			msg := letter("A", "lookup", "invalid_value", "", time.Hour)
			msg.Metadata.Set(pipeline.DeadLetterEntityType, tt.entityType)
			msg.Metadata.Set("x-token", secret)
			if strings.Contains(tt.name, "account") {
				msg.Metadata.Set(pipeline.DeadLetterError, "IPQS does not know "+secret)
			}
			msg.Payload = []byte(tt.body)
			got := show(t, msg)
			if strings.Contains(got, secret) || strings.Contains(got, "12340987") {
				t.Errorf("Show() of %s has the secret:\n%s", tt.body, got)
			}
			if !strings.Contains(got, tt.shown) {
				t.Errorf("Show() of %s lacks %s:\n%s", tt.body, tt.shown, got)
			}
		})
	}
}

func TestShowBoundsTheBody(t *testing.T) {
	t.Parallel()
	msg := message.NewMessage("A", []byte(`{"bundle":"`+strings.Repeat("ä", 1<<16)+`"}`))
	got := show(t, msg)
	if len(got) > 70<<10 || !strings.Contains(got, "the rest is not shown") || !strings.Contains(got, strconv.Itoa(len(msg.Payload))+" bytes") {
		t.Errorf("Show() of a large body has %d bytes and ends in %q", len(got), got[max(0, len(got)-100):])
	}
}

func FuzzShow(f *testing.F) {
	f.Add("User-Account", `{"value":"[\"x\"]","entity":{"type":"User-Account","name":["abc",{"a":null}]}}`)
	f.Add("", "\xff")
	f.Add("Url", `{"a":1e999,"b":"{\"c\":\"{}\"}"} trailing`)
	f.Fuzz(func(t *testing.T, entityType, body string) {
		msg := message.NewMessage("A", []byte(body))
		msg.Metadata.Set(pipeline.DeadLetterEntityType, entityType)
		if got := show(t, msg); !strings.HasPrefix(got, "id ") || strings.ContainsAny(got, "\x1b\x07\u009b") {
			t.Errorf("Show() of %q = %q", body, got)
		}
	})
}
