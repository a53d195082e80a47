package peer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"
)

// ErrIdentity means that a key or certificate cannot be used.
var ErrIdentity = errors.New("peer: unusable identity")

// SPKI is the SHA-256 of a certificate's DER-encoded SubjectPublicKeyInfo: who a peer is.
type SPKI [sha256.Size]byte

// String is the lower-case hex form.
func (s SPKI) String() string { return hex.EncodeToString(s[:]) }

// ParseSPKI reads what String wrote: 64 lower-case hex digits.
func ParseSPKI(text string) (SPKI, error) {
	var s SPKI
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(s) || hex.EncodeToString(b) != text {
		return SPKI{}, fmt.Errorf("SPKI %.70q is not 64 lower-case hex digits: %w", text, ErrIdentity)
	}
	copy(s[:], b)
	return s, nil
}

func spki(cert *x509.Certificate) SPKI { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// Identity is a process's own key and certificate.
type Identity struct {
	cert tls.Certificate
}

// NewIdentity makes an Ed25519 key and a certificate that it signs itself. The certificate
// never expires: peers pin the key.
func NewIdentity() (Identity, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return Identity{}, fmt.Errorf("key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "cypherlink"},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 4.1.2.5: no end
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Identity{}, fmt.Errorf("certificate: %w", err)
	}
	return newIdentity(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

func newIdentity(cert tls.Certificate) (Identity, error) {
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return Identity{}, fmt.Errorf("certificate: %w", err)
	}
	cert.Leaf = leaf
	switch key := leaf.PublicKey.(type) {
	case ed25519.PublicKey:
		return Identity{cert}, nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return Identity{cert}, nil
		}
	}
	return Identity{}, fmt.Errorf("key is neither Ed25519 nor P-256: %w", ErrIdentity)
}

// SPKI is what other processes pin.
func (id Identity) SPKI() SPKI { return spki(id.cert.Leaf) }

const privateMode = 0o600

// Save writes the certificate and the key (PKCS #8) as PEM files of mode 0600. It refuses to
// write over a file that exists.
func (id Identity) Save(certFile, keyFile string) error {
	key, err := x509.MarshalPKCS8PrivateKey(id.cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := savePEM(keyFile, "PRIVATE KEY", key); err != nil {
		return err
	}
	return savePEM(certFile, "CERTIFICATE", id.cert.Certificate[0])
}

func savePEM(name, block string, der []byte) (err error) {
	//nolint:gosec // the operator's path
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateMode)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pem.Encode(file, &pem.Block{Type: block, Bytes: der}); err != nil {
		return fmt.Errorf("identity %s: %w", name, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("identity %s: %w", name, err)
	}
	return nil
}

// LoadIdentity reads a certificate and its key from PEM files, such as Save wrote. It refuses
// a key file that everybody may read, and a key that is neither Ed25519 nor P-256.
func LoadIdentity(certFile, keyFile string) (Identity, error) {
	info, err := os.Stat(keyFile)
	if err != nil {
		return Identity{}, fmt.Errorf("identity: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return Identity{}, fmt.Errorf("%s has mode %o, must be 0600: %w", keyFile, mode, ErrIdentity)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return Identity{}, fmt.Errorf("identity %s: %w: %w", certFile, ErrIdentity, err)
	}
	return newIdentity(cert)
}
