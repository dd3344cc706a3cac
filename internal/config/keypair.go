package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/youmark/pkcs8"
)

// keyPair is a certificate and its key as three options give them.
type keyPair struct {
	certEnv, keyEnv, passphraseEnv string

	cert       string
	key        *Secret
	passphrase Secret
}

// checkKeyPair reports what does not go together, and decrypts the key in its place. Options in wrong are known to be bad
// already.
func checkKeyPair(p keyPair, wrong []string) []error {
	problem := func(env, found, want string) []error {
		return []error{&KeyError{Env: env, YAML: yamlOf(env), Found: found, Want: want}}
	}
	switch {
	case slices.Contains(wrong, p.certEnv), slices.Contains(wrong, p.keyEnv):
		return nil
	case p.cert == "" && p.key.IsZero():
		return nil
	case p.cert == "":
		return problem(p.certEnv, "", "the other half of "+p.keyEnv)
	case p.key.IsZero():
		return problem(p.keyEnv, "", "the other half of "+p.certEnv)
	}
	plain, err := decrypt(p.key.Reveal(), p.passphrase.Reveal())
	switch {
	case errors.Is(err, errNoPassphrase):
		return problem(p.passphraseEnv, "", "the passphrase of the key in "+p.keyEnv+", which is encrypted")
	case errors.Is(err, errPassphrase):
		return problem(p.passphraseEnv, redacted+" ("+err.Error()+")", "the passphrase of the key in "+p.keyEnv)
	case err != nil:
		return problem(p.keyEnv, redacted+" ("+err.Error()+")", "the key of the certificate in "+p.certEnv)
	}
	*p.key = NewSecret(plain)
	if _, err := tls.X509KeyPair([]byte(p.cert), []byte(plain)); err != nil {
		return problem(p.keyEnv, redacted+" ("+strings.TrimPrefix(err.Error(), "tls: ")+")", "the key of the certificate in "+p.certEnv)
	}
	return nil
}

// Why an encrypted key can't be had.
var (
	errNoPassphrase = errors.New("the key is encrypted")
	errPassphrase   = errors.New("it does not open the key")
	errUnreadable   = errors.New("it is encrypted in a way that this worker cannot read: PKCS #8 with PBES2 is what it can, as openssl pkcs8 -topk8 writes")
)

// decrypt returns a key in PEM without its encryption: PKCS #8, or the older form that OpenSSL called traditional. A key
// that has none is returned as it is.
func decrypt(text, passphrase string) (plain string, err error) {
	var block *pem.Block
	for rest := []byte(text); ; {
		if block, rest = pem.Decode(rest); block == nil {
			return text, nil
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			break
		}
	}
	traditional := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // weak, and what operators have
	switch {
	case !traditional && block.Type != "ENCRYPTED PRIVATE KEY":
		return text, nil
	case passphrase == "":
		return "", errNoPassphrase
	case traditional:
		der, err := x509.DecryptPEMBlock(block, []byte(passphrase)) //nolint:staticcheck // as above
		if errors.Is(err, x509.IncorrectPasswordError) {
			return "", errPassphrase
		} else if err != nil {
			return "", errUnreadable
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})), nil
	}
	// The library takes lengths in the file on trust, and the standard library's ciphers panic at wrong ones.
	defer func() {
		if recover() != nil {
			plain, err = "", errUnreadable
		}
	}()
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(passphrase))
	if err != nil && strings.Contains(err.Error(), "incorrect password") {
		return "", errPassphrase
	} else if err != nil {
		return "", errUnreadable
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", errUnreadable
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
