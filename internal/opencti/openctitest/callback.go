package openctitest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

const (
	// callbackTimeout is how long the platform's worker waits for an answer.
	callbackTimeout = 300 * time.Second
	// callbackWorkers is how many workers there are, each with one job at a time.
	callbackWorkers = 4
	// callbackTokenLife is how long a token of the worker is good for.
	callbackTokenLife = time.Hour
)

// CallbackAnswer is what became of one post to a connector's callback: a status, or why there is none.
type CallbackAnswer struct {
	Status int
	Err    error
}

// CallbackAnswers returns what became of the posts to callbacks, in order.
func (p *Platform) CallbackAnswers() []CallbackAnswer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.callbacks)
}

// RotateCallbackKeys makes the platform sign with another key from now on, and forget the one before.
func (p *Platform) RotateCallbackKeys() { p.set(func() { p.keys = newCallbackKeys() }) }

// SetCallbackClient has another client post jobs from now on, one that trusts another authority for example.
func (p *Platform) SetCallbackClient(client *http.Client) { p.set(func() { p.poster = client }) }

// CallbackToken returns what the worker authenticates with at a callback: a token of its own, or the connector's on
// releases before 7.260224.
func (p *Platform) CallbackToken() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.rules.callbackJWT {
		return p.token
	}
	now := time.Now()
	return p.keys.sign(map[string]any{
		"iss": "opencti", "sub": "connector", "iat": now.Unix(), "exp": now.Add(callbackTokenLife).Unix(),
	})
}

// callbackKeys is the pair of keys that the worker's tokens are signed with. They are made by hand, RFC 7515 and 8037, so
// that a connector's library is not checked against itself.
type callbackKeys struct {
	id      string
	private ed25519.PrivateKey
}

func newCallbackKeys() callbackKeys {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	return callbackKeys{id: uuid.NewString(), private: ed25519.NewKeyFromSeed(seed)}
}

func (k callbackKeys) sign(claims map[string]any) string {
	part := func(value any) string { return base64.RawURLEncoding.EncodeToString([]byte(compact(value))) }
	signed := part(map[string]string{"alg": "EdDSA", "typ": "JWT", "kid": k.id}) + "." + part(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.private, []byte(signed)))
}

// jwks is what a registration tells of the keys. The lock is held.
func (p *Platform) jwks() string {
	x := base64.RawURLEncoding.EncodeToString(p.keys.private.Public().(ed25519.PublicKey))
	return compact(map[string]any{"keys": []any{map[string]string{
		"kid": p.keys.id, "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "kty": "OKP", "x": x,
	}}})
}

// callBack starts to post the jobs of a connector that registered a callback, and stops for one that did not, and while the
// platform restarts. The lock is held.
func (p *Platform) callBack(ctx context.Context, c *connector) {
	stop := p.callers[c.id]
	wanted := text(c.input["listen_callback_uri"]) != "" && !p.closed && !p.restarting
	switch {
	case wanted && stop == nil:
		calling, stop := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the request that starts it
		p.callers[c.id] = stop
		for range callbackWorkers {
			p.wg.Go(func() { p.callFor(calling, c.id) })
		}
	case !wanted && stop != nil:
		stop()
		delete(p.callers, c.id)
	}
}

// callFor takes a connector's jobs and posts them until ctx ends.
func (p *Platform) callFor(ctx context.Context, connectorID string) {
	err := p.broker.ConsumeJobs(ctx, connectorID, func(body []byte) error {
		answer := p.post(ctx, connectorID, body)
		p.set(func() { p.callbacks = append(p.callbacks, answer) })
		if answer.Status == http.StatusOK || answer.Status == http.StatusAccepted {
			return nil
		}
		wait := time.NewTimer(p.requeueAfter)
		defer wait.Stop()
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		return fmt.Errorf("the callback did not take the job: status %d: %w", answer.Status, errors.Join(answer.Err))
	})
	if err != nil && ctx.Err() == nil {
		p.log.ErrorContext(ctx, "consuming the listen queue", slog.String("connector", connectorID), slog.Any("error", err))
	}
}

func (p *Platform) post(ctx context.Context, connectorID string, body []byte) CallbackAnswer {
	p.mu.Lock()
	uri, client := "", p.poster
	if c := p.connectors[connectorID]; c != nil {
		uri = text(c.input["listen_callback_uri"])
	}
	p.mu.Unlock()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, bytes.NewReader(body))
	if err != nil {
		return CallbackAnswer{Err: err}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "pycti/"+p.version.String())
	request.Header.Set("Authorization", "Bearer "+p.CallbackToken())
	response, err := client.Do(request)
	if err != nil {
		return CallbackAnswer{Err: err}
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return CallbackAnswer{Status: response.StatusCode, Err: err}
}
