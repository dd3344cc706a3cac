package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/youmark/pkcs8"
)

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	cert, key = strings.TrimSpace(cert), strings.TrimSpace(key)
	_, otherKey := certificate(t)
	certPath := filepath.Join(t.TempDir(), "client.pem")
	if err := os.WriteFile(certPath, []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		env  []string
		want string
	}{
		{name: "texts", env: []string{"MQ_USE_SSL_CERT=" + cert, "MQ_USE_SSL_KEY=" + key, "MQ_USE_SSL_CA=" + cert}},
		{name: "path", env: []string{"MQ_USE_SSL_CERT=" + certPath, "MQ_USE_SSL_KEY=" + key}},
		{name: "no key", env: []string{"MQ_USE_SSL_CERT=" + cert}, want: "MQ_USE_SSL_KEY (mq.use_ssl_key): not set, want the other half of MQ_USE_SSL_CERT"},
		{name: "no certificate", env: []string{"MQ_USE_SSL_KEY=" + key}, want: "MQ_USE_SSL_CERT (mq.use_ssl_cert): not set, want the other half of MQ_USE_SSL_KEY"},
		{
			name: "key of another", env: []string{"MQ_USE_SSL_CERT=" + cert, "MQ_USE_SSL_KEY=" + otherKey},
			want: "MQ_USE_SSL_KEY (mq.use_ssl_key): found [REDACTED] (private key does not match public key), want the key of the certificate in MQ_USE_SSL_CERT",
		},
		{
			name: "key as authority", env: []string{"MQ_USE_SSL_CA=" + key},
			want: `MQ_USE_SSL_CA (mq.use_ssl_ca): found [REDACTED] (it holds no certificate) in the environment, want a text in PEM, or the path of a file that holds one`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _, err := Load(Options{Path: noFile(t), Environ: minimal(tt.env...)})
			if tt.want == "" {
				if err != nil || c.MQ.Cert != cert || c.MQ.Key.Reveal() != key {
					t.Errorf("Load() = %v, %v, want the certificate and its key", c.MQ, err)
				}
				return
			}
			if err == nil || !strings.HasSuffix(err.Error(), "\n  "+tt.want) {
				t.Errorf("Load() error = %v, want %s", err, tt.want)
			}
		})
	}
}

// TestEncryptedKey opens keys as OpenSSL writes them, PKCS #8 and its older form, and names the variable where it can't.
func TestEncryptedKey(t *testing.T) {
	t.Parallel()
	const passphrase = " hunter2 "
	cert, key := certificate(t)
	block, _ := pem.Decode([]byte(key))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(block *pem.Block) string { return string(pem.EncodeToMemory(block)) }
	der, err := pkcs8.MarshalPrivateKey(private, []byte(passphrase), nil)
	if err != nil {
		t.Fatal(err)
	}
	modern := encode(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
	short := encode(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: shortened(t, der)})
	oldDER, err := x509.MarshalECPrivateKey(private.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	oldBlock, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", oldDER, []byte(passphrase), x509.PEMCipherAES256) //nolint:staticcheck // what operators have
	if err != nil {
		t.Fatal(err)
	}
	old := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + encode(oldBlock)
	const (
		missing    = "MQ_USE_SSL_PASSPHRASE (mq.use_ssl_passphrase): not set, want the passphrase of the key in MQ_USE_SSL_KEY, which is encrypted"
		wrong      = "MQ_USE_SSL_PASSPHRASE (mq.use_ssl_passphrase): found [REDACTED] (it does not open the key), want the passphrase of the key in MQ_USE_SSL_KEY"
		unreadable = "MQ_USE_SSL_KEY (mq.use_ssl_key): found [REDACTED] (it is encrypted in a way that this worker cannot read: PKCS #8 with PBES2 is what it can, as openssl pkcs8 -topk8 writes), want the key of the certificate in MQ_USE_SSL_CERT"
	)
	tests := []struct {
		name, key, passphrase string
		want                  string // the problem; empty for none
	}{
		{name: "PKCS #8", key: modern, passphrase: passphrase},
		{name: "traditional", key: old, passphrase: passphrase},
		{name: "not encrypted, passphrase without use", key: key, passphrase: passphrase},
		{name: "PKCS #8, no passphrase", key: modern, want: missing},
		{name: "traditional, no passphrase", key: old, want: missing},
		{name: "PKCS #8, wrong passphrase", key: modern, passphrase: "hunter3", want: wrong},
		{name: "traditional, wrong passphrase", key: old, passphrase: "hunter3", want: wrong},
		{name: "no PKCS #8 inside", key: encode(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 0}}), passphrase: passphrase, want: unreadable},
		{name: "cut off", key: short, passphrase: passphrase, want: unreadable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _, err := Load(Options{Path: noFile(t), Environ: minimal(
				"MQ_USE_SSL_CERT="+cert, "MQ_USE_SSL_KEY="+tt.key, "MQ_USE_SSL_PASSPHRASE="+tt.passphrase)})
			if tt.want != "" {
				if err == nil || !strings.HasSuffix(err.Error(), "\n  "+tt.want) || strings.Contains(err.Error(), "hunter") {
					t.Errorf("Load() error = %v, want %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("Load() error = %v", err)
			}
			if text, err := decrypt(c.MQ.Key.Reveal(), ""); err != nil || text != c.MQ.Key.Reveal() {
				t.Error("Load() left the key encrypted")
			}
		})
	}
}

// shortened takes a byte off the encrypted data at the end of a PKCS #8 key, so that it is no whole number of blocks.
func shortened(t *testing.T, der []byte) []byte {
	t.Helper()
	var key struct {
		Algorithm asn1.RawValue
		Data      []byte
	}
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		t.Fatal(err)
	}
	key.Data = key.Data[:len(key.Data)-1]
	out, err := asn1.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// certificate makes a certificate and its key, both in PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}
