package tap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cypherlink/cypherlink"
)

// ErrConfig means that a configuration cannot be used as it stands.
var ErrConfig = errors.New("tap: unusable configuration")

// Config is the configuration file of a tap. A file or folder that is not absolute counts from
// the configuration's own folder.
type Config struct {
	Genesis string `json:"genesis"`
	// TLSCert and TLSKey are by which the members know the tap: those of a participant of role
	// regulator, whose other keys are elsewhere.
	TLSCert string `json:"tls_cert"`
	TLSKey  string `json:"tls_key"`
	// Data is the folder of the tap's copy of the chain.
	Data string `json:"data"`
	// Members are the addresses of the members that the tap asks.
	Members map[cypherlink.ParticipantID]string `json:"members"`
	// Listen is the address for readers, Cert and Key are the listener's, CA is the authority of
	// the readers' certificates.
	Listen string `json:"listen"`
	Cert   string `json:"cert"`
	Key    string `json:"key"`
	CA     string `json:"ca"`
}

const configMode = 0o600

// Save writes the configuration.
func (c *Config) Save(file string) error {
	b, err := json.Marshal(c, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), configMode)
}

// LoadConfig reads a configuration strictly, and makes its paths absolute.
func LoadConfig(file string) (*Config, error) {
	b, err := os.ReadFile(file) //nolint:gosec // the operator's file
	if err != nil {
		return nil, err
	}
	var c Config
	if err := json.Unmarshal(b, &c, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrConfig, err)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	for _, path := range []*string{&c.Genesis, &c.TLSCert, &c.TLSKey, &c.Data, &c.Cert, &c.Key, &c.CA} {
		if *path == "" {
			return nil, fmt.Errorf("%s: a file or folder is not named: %w", file, ErrConfig)
		}
		if !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	if c.Listen == "" || len(c.Members) == 0 {
		return nil, fmt.Errorf("%s: no address to listen on, or no member to ask: %w", file, ErrConfig)
	}
	return &c, nil
}

// TLS is TLS 1.3 for the listener, with a certificate of the readers' authority on the other side.
func (c *Config) TLS() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate: %w", c.CA, ErrConfig)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}
