package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// bytesProvider stands for a file.
type bytesProvider []byte

func (p bytesProvider) ReadBytes() ([]byte, error)    { return p, nil }
func (p bytesProvider) Read() (map[string]any, error) { return nil, errors.New("not supported") }

// FuzzLoad feeds arbitrary files, variables and secrets: no panic, a usable configuration or an *Error, and no secret in
// any text.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("opencti: {url: http://h}\nconnector: {id: x}"), "MQ_PORT=1\x00CONNECTOR_AUTO=yes", "", 0)
	f.Add([]byte("mq.host: a\nmq: {host: {b: c}}\nopencti: [1, {a: *b}]"), "IPQS_MAX_TLP=red", "\n", 1)
	f.Add([]byte("connector: {scope: [Url, 1, null], log_level: 2026-01-01}"), "OPENCTI_URL=http://u:p@h", "a:b;c", 0)
	f.Add([]byte("a: &a [*a]\nmq: \n  mq: {}\n"), "WORKER_X=1", ":", 2)
	f.Add(Sample(), "", "", 0)
	f.Fuzz(func(t *testing.T, file []byte, environ, secret string, purpose int) {
		const planted = "pl4nted"
		if bytes.Contains(file, []byte(planted)) || strings.Contains(environ, planted) {
			t.Skip("the secret is where no secret belongs")
		}
		var env []string
		for v := range strings.SplitSeq(environ, "\x00") {
			if !strings.Contains(v, "_SSL_") && !strings.Contains(v, "_CA_") { // would open files
				env = append(env, v)
			}
		}
		for _, o := range Table() {
			if o.Secret && !strings.HasSuffix(o.Env, "_SSL_KEY") {
				env = append(env, o.Env+"="+planted+secret)
			}
		}
		c, warnings, err := load(Options{Path: "fuzz.yml", Environ: env, Require: Purpose(purpose)}, bytesProvider(file))
		e, isError := errors.AsType[*Error](err)
		switch {
		case err != nil && !isError:
			t.Errorf("Load() error = %T %v, want an *Error", err, err)
		case err != nil && len(e.Problems) == 0:
			t.Error("Load() error has no problem in it")
		case err == nil && Purpose(purpose) <= ForRun && (c.OpenCTI.URL == "" || c.OpenCTI.Token.IsZero() ||
			c.Connector.ID == "" || c.IPQS.PrivateKey.IsZero() || len(c.Connector.Scope) == 0):
			t.Errorf("Load() = %+v, want everything that is required", c)
		case err == nil && (c.IPQS.MaxTLP == "" || c.Worker.LookupConcurrency < 1 || c.Worker.QueueType == ""):
			t.Errorf("Load() = %+v, want defaults", c)
		}
		if text := fmt.Sprintf("%v\n%v\n%+v", err, warnings, c); strings.Contains(text, planted) {
			t.Errorf("Load() shows a secret: %s", text)
		}
	})
}
