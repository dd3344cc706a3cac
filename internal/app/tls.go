package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"opencti-ipqs-worker/internal/config"
)

// platformTransport carries requests to OpenCTI: over the proxy that HTTPS_PROXY and its like name, to whom the system
// and HTTPS_CA_CERTIFICATES trust.
func platformTransport(o config.OpenCTI) (http.RoundTripper, error) {
	if err := proxies(); err != nil {
		return nil, err
	}
	trusted, err := trusting("HTTPS_CA_CERTIFICATES", o.CA)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // proxies by the usual variables
	transport.MaxIdleConnsPerHost = 64                           // as many as hops talk to it at once
	transport.TLSClientConfig = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            trusted,
		InsecureSkipVerify: !o.SSLVerify, //nolint:gosec // the operator's choice: OPENCTI_SSL_VERIFY
	}
	return advised{transport, platformAdvice()}, nil
}

// brokerTLS is how the broker at host is spoken to.
func brokerTLS(host string, mq config.MQ) (*tls.Config, error) {
	trusted, err := trusting("MQ_USE_SSL_CA", mq.CA)
	if err != nil {
		return nil, err
	}
	secured := &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		RootCAs:            trusted,
		InsecureSkipVerify: !mq.RejectUnauthorized, //nolint:gosec // the operator's choice: MQ_USE_SSL_REJECT_UNAUTHORIZED
	}
	if mq.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(mq.Cert), []byte(mq.Key.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("pairing MQ_USE_SSL_CERT and MQ_USE_SSL_KEY: %w", err)
		}
		secured.Certificates = []tls.Certificate{pair}
	}
	return secured, nil
}

// trusting returns the system's authorities and those in text, the PEM of the option called name; nil, which is the
// system's alone, where there is none.
func trusting(name, text string) (*x509.CertPool, error) {
	if text == "" {
		return nil, nil
	}
	trusted, err := x509.SystemCertPool()
	if err != nil { // a container without any
		trusted = x509.NewCertPool()
	}
	if !trusted.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New(name + " holds no certificate")
	}
	return trusted, nil
}

// advice is what an operator can do about a connection that TLS refuses, by the names of the options.
type advice struct {
	authority string // gives an authority to trust
	verify    string // lets any certificate pass
	name      string // says under which name the other side is asked
	identity  string // gives us a certificate of our own
	plain     string // does without TLS
}

func platformAdvice() advice {
	return advice{
		authority: "HTTPS_CA_CERTIFICATES", verify: "OPENCTI_SSL_VERIFY=false", name: "OPENCTI_URL",
		plain: "http:// in OPENCTI_URL",
	}
}

func brokerAdvice() advice {
	return advice{
		authority: "MQ_USE_SSL_CA", verify: "MQ_USE_SSL_REJECT_UNAUTHORIZED=false", name: "MQ_HOST",
		identity: "MQ_USE_SSL_CERT and MQ_USE_SSL_KEY", plain: "MQ_USE_SSL=false",
	}
}

// on returns err with the advice for it, or err where there is none.
func (a advice) on(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*advisedError](err); ok {
		return err
	}
	text := ""
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		_, stranger := errors.AsType[x509.UnknownAuthorityError](err)
		_, misnamed := errors.AsType[x509.HostnameError](err)
		switch {
		case stranger:
			text = "set " + a.authority + " or " + a.verify
		case misnamed:
			text = "set " + a.name + " to a name that it has, or " + a.verify
		default:
			text = "renew it or set " + a.verify
		}
	} else if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		text = "is it the port for TLS? Without TLS: " + a.plain
	} else if a.identity != "" && refusesClient(err) {
		text = "does the other side want a certificate of ours? Set " + a.identity + " to one that it trusts"
	}
	if text == "" {
		return err
	}
	return &advisedError{err, text}
}

// refusesClient reports whether the other side ended the handshake for lack of a certificate that it trusts. With TLS 1.3
// that only comes with the first answer, which the AMQP library reports as text; the alerts are those of RFC 8446, 6.2.
func refusesClient(err error) bool {
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	if !ok {
		return false
	}
	for _, about := range []string{
		"certificate required", "bad certificate", "unknown certificate", "unsupported certificate", "revoked certificate",
		"expired certificate", "handshake failure", // what TLS 1.2 says for the first
	} {
		if strings.HasPrefix(alert, about) {
			return true
		}
	}
	return false
}

// advisedError is an error with what an operator can do about it.
type advisedError struct {
	err    error
	advice string
}

func (e *advisedError) Error() string { return e.err.Error() + ": " + e.advice }
func (e *advisedError) Unwrap() error { return e.err }

// advised is an HTTP transport whose errors come with advice.
type advised struct {
	http.RoundTripper
	advice advice
}

// RoundTrip implements [http.RoundTripper].
func (a advised) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.RoundTripper.RoundTrip(request)
	return response, a.advice.on(err)
}

// advisor is a log handler that adds advice to the errors it is given.
type advisor struct {
	slog.Handler
	advice advice
}

// Handle implements [slog.Handler].
func (a advisor) Handle(ctx context.Context, record slog.Record) error {
	told := slog.NewRecord(record.Time, record.Level, record.Message, record.PC)
	record.Attrs(func(attr slog.Attr) bool {
		if err, ok := attr.Value.Any().(error); ok {
			attr.Value = slog.AnyValue(a.advice.on(err))
		}
		told.AddAttrs(attr)
		return true
	})
	return a.Handler.Handle(ctx, told)
}

// WithAttrs implements [slog.Handler].
func (a advisor) WithAttrs(attrs []slog.Attr) slog.Handler {
	return advisor{a.Handler.WithAttrs(attrs), a.advice}
}

// WithGroup implements [slog.Handler].
func (a advisor) WithGroup(name string) slog.Handler {
	return advisor{a.Handler.WithGroup(name), a.advice}
}
