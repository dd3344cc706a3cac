package callback

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// key is a pair of keys, and signs by hand (RFC 7515, 8037): the library must not be checked against itself.
type key struct {
	id      string
	private ed25519.PrivateKey
}

func newKey(t *testing.T, id string) key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{id, private}
}

func part(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // maps of plain values
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func (k key) sign(header, claims map[string]any) string {
	signed := part(header) + "." + part(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.private, []byte(signed)))
}

// token is a good one, as edited.
func (k key) token(edit func(header, claims map[string]any)) string {
	now := time.Now()
	header := map[string]any{"alg": "EdDSA", "typ": "JWT", "kid": k.id}
	claims := map[string]any{"iss": "opencti", "sub": "connector", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if edit != nil {
		edit(header, claims)
	}
	return k.sign(header, claims)
}

func (k key) jwk() map[string]string {
	x := base64.RawURLEncoding.EncodeToString(k.private.Public().(ed25519.PublicKey))
	return map[string]string{"kid": k.id, "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "kty": "OKP", "x": x}
}

func jwks(keys ...map[string]string) string {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err) // maps of texts
	}
	return string(text)
}

func fixed(text string) func() string { return func() string { return text } }

func TestKeys(t *testing.T) {
	t.Parallel()
	ours, stranger := newKey(t, "one"), newKey(t, "one")
	good := ours.token(nil)
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	tests := []struct {
		name, token string
		want        string // the error; empty for none
	}{
		{name: "good", token: good},
		{name: "good, without times but the expiry", token: ours.token(func(_, c map[string]any) { delete(c, "iat") })},
		{name: "clocks a little apart", token: ours.token(func(_, c map[string]any) { c["exp"] = time.Now().Add(-30 * time.Second).Unix() })},
		{name: "expired", token: ours.token(func(_, c map[string]any) { c["exp"] = time.Now().Add(-2 * time.Minute).Unix() }), want: "token is expired"},
		{name: "no expiry", token: ours.token(func(_, c map[string]any) { delete(c, "exp") }), want: "never expires (exp)"},
		{name: "expiry of another kind", token: ours.token(func(_, c map[string]any) { c["exp"] = "tomorrow" }), want: "signature is not by the key"},
		{name: "not yet", token: ours.token(func(_, c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() }), want: "not valid yet"},
		{name: "from the future", token: ours.token(func(_, c map[string]any) { c["iat"] = time.Now().Add(time.Hour).Unix() }), want: "issued in the future"},
		{name: "another issuer", token: ours.token(func(_, c map[string]any) { c["iss"] = "planted" }), want: "invalid issuer"},
		{name: "no issuer", token: ours.token(func(_, c map[string]any) { delete(c, "iss") }), want: "invalid issuer"},
		{name: "another subject", token: ours.token(func(_, c map[string]any) { c["sub"] = "planted" }), want: "invalid subject"},
		{name: "no key", token: ours.token(func(h, _ map[string]any) { delete(h, "kid") }), want: "names no key (kid)"},
		{name: "unknown key", token: ours.token(func(h, _ map[string]any) { h["kid"] = "planted" }), want: "a key (kid) that OpenCTI has not told us"},
		{name: "signed by a stranger", token: stranger.token(nil), want: "signature is not by the key that it names"},
		{
			name: "a stranger's key in the header", want: "signature is not by the key that it names",
			token: stranger.token(func(h, _ map[string]any) {
				h["jwk"] = map[string]string{"kty": "OKP", "crv": "Ed25519", "x": stranger.jwk()["x"]}
			}),
		},
		{name: "no signature", token: head + "." + body + ".", want: "signature is not by the key that it names"},
		{name: "algorithm none", token: part(map[string]any{"alg": "none", "kid": "one"}) + "." + body + ".", want: "no JWT signed with EdDSA"},
		{name: "HMAC with the public key", token: part(map[string]any{"alg": "HS256", "kid": "one"}) + "." + body + "." + signature, want: "no JWT signed with EdDSA"},
		{name: "claims exchanged", token: head + "." + part(map[string]any{"iss": "opencti", "sub": "connector", "exp": 9999999999}) + "." + signature, want: "signature is not by the key"},
		{name: "no token at all", token: "planted", want: "no JWT signed with EdDSA"},
		{name: "too long", token: strings.Repeat("x", maxTokenBytes+1), want: "at most 8192 are possible"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys := NewKeys(fixed(jwks(ours.jwk())), func(string) {})
			err := keys.Authorize(tt.token)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Authorize() = %v, want nil", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Authorize() = %v, want an error with %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "planted"):
				t.Errorf("Authorize() = %v repeats what it was given", err)
			}
		})
	}
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	good := newKey(t, "one").jwk()
	change := func(name, value string) map[string]string {
		changed := maps.Clone(good)
		changed[name] = value
		return changed
	}
	private := change("d", base64.RawURLEncoding.EncodeToString(newKey(t, "").private.Seed()))
	tests := []struct {
		name, text string
		usable     bool
	}{
		{"one", jwks(good), true},
		{"one among strangers", jwks(change("kty", "ML-KEM"), change("kid", ""), change("crv", "Ed448"), good), true},
		{"without use and algorithm", jwks(map[string]string{"kid": "1", "crv": "Ed25519", "kty": "OKP", "x": good["x"]}), true},
		{"for encryption", jwks(change("use", "enc")), false},
		{"for another algorithm", jwks(change("alg", "RS256")), false},
		{"too short", jwks(change("x", "AAAA")), false},
		{"private", jwks(private), false},
		{"empty set", `{"keys":[]}`, false},
		{"nothing", "", false},
		{"null", "null", false},
		{"a list", "[]", false},
		{"too long", `{"keys":["` + strings.Repeat("x", maxKeysBytes) + `"]}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := NewKeys(fixed(tt.text), func(string) {}).Check()
			if (err == nil) != tt.usable || err != nil && !strings.Contains(err.Error(), "reading OpenCTI's keys (jwks)") {
				t.Errorf("Check() = %v, want usable = %t", err, tt.usable)
			}
		})
	}
}

// TestKeysChange: a key that is not known has the keys asked for again, but not by everybody who comes along.
func TestKeysChange(t *testing.T) {
	t.Parallel()
	before, after := newKey(t, "before"), newKey(t, "after")
	text, asked, now := jwks(before.jwk()), 0, time.Now()
	keys := NewKeys(func() string { return text }, func(string) { asked++ })
	keys.now = func() time.Time { return now }
	if err := keys.Authorize(before.token(nil)); err != nil || asked != 0 {
		t.Fatalf("Authorize() = %v after %d questions, want nil and none", err, asked)
	}
	for range 3 {
		if err := keys.Authorize(after.token(nil)); err == nil || asked != 1 {
			t.Errorf("Authorize(unknown key) = %v, %d questions, want an error and one question", err, asked)
		}
	}
	now = now.Add(renewEvery)
	if err := keys.Authorize(after.token(nil)); err == nil || asked != 2 {
		t.Errorf("Authorize(unknown key) = %v, %d questions, want another question a minute later", err, asked)
	}
	text = jwks(after.jwk())
	if err := keys.Authorize(after.token(nil)); err != nil {
		t.Errorf("Authorize() = %v, want the new key known", err)
	}
	if err := keys.Authorize(before.token(nil)); err == nil {
		t.Error("Authorize() = nil, want the old key forgotten")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	authorize := Token("d434ce02-58b1-4a8d-8b0f-000000000000")
	if err := authorize("d434ce02-58b1-4a8d-8b0f-000000000000"); err != nil {
		t.Errorf("Token()(the same) = %v, want nil", err)
	}
	for _, other := range []string{"", "d434ce02-58b1-4a8d-8b0f-00000000000", "d434ce02-58b1-4a8d-8b0f-0000000000000", "D434CE02-58b1-4a8d-8b0f-000000000000"} {
		if err := authorize(other); err == nil {
			t.Errorf("Token()(%q) = nil, want an error", other)
		}
	}
}

// FuzzAuthorize: what strangers send is never good, and never a panic.
func FuzzAuthorize(f *testing.F) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	ours := key{"one", private}
	keys := NewKeys(fixed(jwks(ours.jwk())), func(string) {})
	f.Add(ours.token(nil)[:40])
	f.Add(part(map[string]any{"alg": "none", "kid": "one"}) + ".e30.")
	f.Add(part(map[string]any{"alg": "EdDSA", "kid": "one", "crit": []string{"b64"}, "b64": false}) + ".e30.AAAA")
	f.Add(`{"payload":"e30","signatures":[{"protected":"e30","signature":"AA"}]}`)
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if keys.Authorize(token) == nil {
			t.Errorf("Authorize(%q) = nil, want an error", token)
		}
	})
}

func ExampleToken() {
	authorize := Token("the connector's token")
	fmt.Println(authorize("another one"))
	// Output: the token is not that of this connector
}
