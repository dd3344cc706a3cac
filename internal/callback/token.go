package callback

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// Issuer and subject of the tokens that OpenCTI's workers come with.
	issuer  = "opencti"
	subject = "connector"
	// leeway is how far the platform's clock and ours may be apart.
	leeway = time.Minute
	// maxTokenBytes and maxKeysBytes bound what is parsed; real ones have a few hundred bytes.
	maxTokenBytes = 8 << 10
	maxKeysBytes  = 64 << 10
	// renewEvery is how often another set of keys is asked for: anybody can name a key that does not exist.
	renewEvery = time.Minute
)

// errWrongToken says that a token is another one than ours.
var errWrongToken = errors.New("the token is not that of this connector")

// Token returns a function for [Options].Authorize that accepts one token alone. How long it takes tells nothing about it.
func Token(token string) func(string) error {
	want := sha256.Sum256([]byte(token))
	return func(got string) error {
		found := sha256.Sum256([]byte(got))
		if subtle.ConstantTimeCompare(found[:], want[:]) != 1 {
			return errWrongToken
		}
		return nil
	}
}

// Keys accepts the tokens that a platform signs: JWT (RFC 7519) with EdDSA on Ed25519 (RFC 8037). Its methods are safe for
// concurrent use.
type Keys struct {
	current func() string
	renew   func(why string)
	now     func() time.Time

	mu      sync.Mutex
	text    string // what set was read from
	set     map[string]ed25519.PublicKey
	renewed time.Time
}

// NewKeys returns keys that are read from current, a JWKS (RFC 7517) that may change at any time. renew is called, at most
// once a minute, when a token names a key that is not among them: the platform may have made new ones.
func NewKeys(current func() string, renew func(why string)) *Keys {
	return &Keys{current: current, renew: renew, now: time.Now}
}

// Check returns an error unless there is a key.
func (k *Keys) Check() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read()
}

// read reads the keys if they have changed. The lock is held.
func (k *Keys) read() error {
	text := k.current()
	if text == k.text && k.set != nil {
		return nil
	}
	set, err := parse(text)
	if err != nil {
		return err
	}
	k.text, k.set = text, set
	return nil
}

// parse returns the keys that can be used, by id. Others, of kinds that are still to come, may stand beside them.
func parse(text string) (map[string]ed25519.PublicKey, error) {
	if len(text) > maxKeysBytes {
		return nil, fmt.Errorf("reading OpenCTI's keys (jwks): found %d bytes, want at most %d", len(text), maxKeysBytes)
	}
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, errors.New("reading OpenCTI's keys (jwks): found something else, want a JSON Web Key Set")
	}
	set := make(map[string]ed25519.PublicKey)
	for _, raw := range list.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || key.KeyID == "" {
			continue
		}
		public, ok := key.Key.(ed25519.PublicKey)
		if ok && (key.Use == "" || key.Use == "sig") && (key.Algorithm == "" || key.Algorithm == string(jose.EdDSA)) {
			set[key.KeyID] = public
		}
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("reading OpenCTI's keys (jwks): found none of Ed25519 with an id among %d, want at least one", len(list.Keys))
	}
	return set, nil
}

// Authorize is a function for [Options].Authorize. It wants a signature by the key that the token names, the platform as
// issuer, a connector as subject, and a time of expiry that is not over.
func (k *Keys) Authorize(token string) error {
	if len(token) > maxTokenBytes {
		return fmt.Errorf("the token has %d bytes, at most %d are possible", len(token), maxTokenBytes)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return errors.New("the token is no JWT signed with EdDSA")
	}
	if len(parsed.Headers) != 1 || parsed.Headers[0].KeyID == "" {
		return errors.New("the token names no key (kid)")
	}
	key, err := k.key(parsed.Headers[0].KeyID)
	if err != nil {
		return err
	}
	var claims jwt.Claims
	if err := parsed.Claims(key, &claims); err != nil {
		return errors.New("the token's signature is not by the key that it names")
	}
	if claims.Expiry == nil {
		return errors.New("the token never expires (exp)")
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: issuer, Subject: subject, Time: k.now()}, leeway); err != nil {
		return fmt.Errorf("the token's claims: %w", err)
	}
	return nil
}

// key returns the key of that id.
func (k *Keys) key(id string) (ed25519.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.read(); err != nil {
		return nil, err
	}
	if key, ok := k.set[id]; ok {
		return key, nil
	}
	if now := k.now(); now.Sub(k.renewed) >= renewEvery {
		k.renewed = now
		k.renew("a job came under a key that is not known")
	}
	return nil, errors.New("the token names a key (kid) that OpenCTI has not told us")
}
