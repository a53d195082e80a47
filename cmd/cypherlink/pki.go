package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A local network has one certificate authority of its own for what is not pinned: the REST
// APIs, their callers, and the broker. Between institutions keys are pinned and no authority
// plays a part.

const (
	certLife = 10 * 365 * 24 * time.Hour
	fileMode = 0o600
	dirMode  = 0o700
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes one and writes ca.pem into dir. Its key is never written: whoever needs
// another certificate makes another network.
func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CypherLink local network"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &authority{cert, key}, writePEM(filepath.Join(dir, "ca.pem"), "CERTIFICATE", der)
}

// issue writes NAME.pem and NAME.key into dir: a certificate for loopback, for servers and
// clients.
func (a *authority) issue(dir, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return fmt.Errorf("serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: a.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := writePEM(filepath.Join(dir, name+".key"), "PRIVATE KEY", pkcs8); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, name+".pem"), "CERTIFICATE", der)
}

func writePEM(name, block string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}), fileMode)
}

var errTLS = errors.New("unusable TLS files")

// tlsFiles names a certificate, its key and the authority that the other side's certificate
// must come from.
type tlsFiles struct {
	Cert path `json:"cert"`
	Key  path `json:"key"`
	CA   path `json:"ca"`
}

// config is TLS 1.3 with certificates on both sides, for a server and for a client.
func (f tlsFiles) config() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(string(f.Cert), string(f.Key))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	ca, err := os.ReadFile(string(f.CA))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate: %w", f.CA, errTLS)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}
