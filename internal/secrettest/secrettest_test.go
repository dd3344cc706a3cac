package secrettest

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// The check would be worth nothing if it did not fail where a secret comes out.
func TestFind(t *testing.T) {
	t.Parallel()
	const secret = `P@ss'w\ord "4711"`
	encode := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, text := range map[string]string{
		"plain":           "level=info msg=" + secret + " x",
		"query":           "GET /leaked?" + url.Values{"password": {secret}}.Encode(),
		"path":            "/leaked/" + url.PathEscape(secret),
		"JSON":            encode(map[string]string{"credential": secret}),
		"JSON in JSON":    encode(map[string]string{"stix_entity": encode(map[string]string{"credential": secret})}),
		"base64":          base64.StdEncoding.EncodeToString([]byte(secret + "x")),
		"base64 after 1":  base64.StdEncoding.EncodeToString([]byte("a" + secret)),
		"base64 after 2":  base64.StdEncoding.EncodeToString([]byte("ab" + secret + "xy")),
		"base64, far in":  base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", 400) + secret + "xyz")),
		"the end of text": secret,
	} {
		if found := Find(map[string]string{"log": text}, "other", secret); len(found) != 1 || !strings.HasPrefix(found[0], "log has ") {
			t.Errorf("%s: Find(%q) = %q, want the log named", name, text, found)
		}
	}
	if found := Find(map[string]string{"log": "nothing", "spans": "[REDACTED]"}, secret); len(found) > 0 {
		t.Errorf("Find() = %q where there is none", found)
	}
	if found := Find(map[string]string{"log": ""}, secret); len(found) != 1 {
		t.Errorf("Find() = %q of nothing, want that to be said", found)
	}
}
