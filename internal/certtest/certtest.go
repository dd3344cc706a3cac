// Package certtest makes certificates for tests: an [Authority], and what it signs for servers and clients, in PEM.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/youmark/pkcs8"
)

// Authority signs certificates. Each one is a stranger to all others, whatever its name.
type Authority struct {
	// PEM is its own certificate.
	PEM string

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Pair is a certificate and its key (PKCS #8), in PEM.
type Pair struct{ Cert, Key string }

// New returns an authority.
func New(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatalf("signing the authority's certificate: %v", err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("reading the authority's certificate: %v", err)
	}
	a.PEM = encode("CERTIFICATE", der)
	return a
}

// Server signs a certificate for a server that is known as host, a name or an address.
func (a *Authority) Server(t *testing.T, host string) Pair {
	t.Helper()
	return a.sign(t, host, time.Now().Add(24*time.Hour))
}

// Expired signs a certificate for a server that ended a minute ago.
func (a *Authority) Expired(t *testing.T, host string) Pair {
	t.Helper()
	return a.sign(t, host, time.Now().Add(-time.Minute))
}

// Client signs a certificate for a client.
func (a *Authority) Client(t *testing.T) Pair {
	t.Helper()
	return a.sign(t, "client", time.Now().Add(24*time.Hour))
}

func (a *Authority) sign(t *testing.T, name string, until time.Time) Pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	if name == "client" {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatalf("signing a certificate for %s: %v", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("encoding the key of %s: %v", name, err)
	}
	return Pair{Cert: encode("CERTIFICATE", der), Key: encode("PRIVATE KEY", keyDER)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("making a key: %v", err)
	}
	return key
}

// serial returns a number that no other certificate has: OpenSSL takes two of one issuer for the same.
func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatalf("making a serial number: %v", err)
	}
	return n
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TLS returns the pair as crypto/tls takes it.
func (p Pair) TLS(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(p.Cert), []byte(p.Key))
	if err != nil {
		t.Fatalf("reading a certificate and its key: %v", err)
	}
	return pair
}

// Encrypted returns the key under a passphrase, as openssl pkcs8 -topk8 writes it.
func (p Pair) Encrypted(t *testing.T, passphrase string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(p.Key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatalf("reading a key: %v", err)
	}
	der, err := pkcs8.MarshalPrivateKey(key, []byte(passphrase), nil)
	if err != nil {
		t.Fatalf("encrypting a key: %v", err)
	}
	return encode("ENCRYPTED PRIVATE KEY", der)
}

// Pool returns a pool with this authority and no other.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// String keeps the key out of a test's output.
func (p Pair) String() string { return fmt.Sprintf("certificate of %d bytes and its key", len(p.Cert)) }
