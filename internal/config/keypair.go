package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/youmark/pkcs8"
)

// checkKeyPair reports what does not go together in the options <prefix>_CERT, _KEY and _PASSPHRASE, and decrypts the key in
// its place. Options in wrong are known to be bad already.
func checkKeyPair(prefix, cert string, key *Secret, passphrase Secret, wrong []string) []error {
	certName, keyName, passphraseName := prefix+"_CERT", prefix+"_KEY", prefix+"_PASSPHRASE"
	problem := func(env, found, want string) []error {
		return []error{&KeyError{Env: env, YAML: yamlOf(env), Found: found, Want: want}}
	}
	switch {
	case slices.Contains(wrong, certName), slices.Contains(wrong, keyName):
		return nil
	case cert == "" && key.IsZero():
		return nil
	case cert == "":
		return problem(certName, "", "the other half of "+keyName)
	case key.IsZero():
		return problem(keyName, "", "the other half of "+certName)
	}
	plain, err := decrypt(key.Reveal(), passphrase.Reveal())
	switch {
	case errors.Is(err, errNoPassphrase):
		return problem(passphraseName, "", "the passphrase of the key in "+keyName+", which is encrypted")
	case errors.Is(err, errPassphrase):
		return problem(passphraseName, redacted+" ("+err.Error()+")", "the passphrase of the key in "+keyName)
	case err != nil:
		return problem(keyName, redacted+" ("+err.Error()+")", "the key of the certificate in "+certName)
	}
	*key = NewSecret(plain)
	if _, err := tls.X509KeyPair([]byte(cert), []byte(plain)); err != nil {
		return problem(keyName, redacted+" ("+strings.TrimPrefix(err.Error(), "tls: ")+")", "the key of the certificate in "+certName)
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
		// The form has no checksum: one wrong passphrase in 256 decrypts to something.
		var key asn1.RawValue
		if rest, err := asn1.Unmarshal(der, &key); err != nil || len(rest) > 0 || key.Tag != asn1.TagSequence {
			return "", errPassphrase
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
