package ilp

import (
	"crypto/sha256"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
)

// ILDCP (RFC 31) is how a node asks its parent for its own address and asset: a Prepare of
// nothing to peerConfig under the condition of 32 zero bytes.
const peerConfig Address = "peer.config"

// maxAssetCode bounds the asset code of an ILDCP reply, in bytes: RFC 31 does not.
const maxAssetCode = 255

// NewConfigRequest is an ILDCP request.
func NewConfigRequest(expiresAt time.Time) *Prepare {
	return &Prepare{ExpiresAt: expiresAt, Condition: sha256.Sum256(make([]byte, 32)), Destination: peerConfig}
}

// CheckConfigRequest reports a *Reject unless p is an ILDCP request that has not expired.
func CheckConfigRequest(now time.Time, p *Prepare) error {
	switch {
	case p.Destination != peerConfig || p.Amount != 0 || len(p.Data) != 0:
		return &Reject{Code: BadRequest, Message: "not an ILDCP request"}
	case !p.Condition.FulfilledBy(cypherlink.Preimage{}):
		return &Reject{Code: WrongCondition, Message: "an ILDCP request has the condition of 32 zero bytes"}
	case !p.ExpiresAt.After(now):
		return &Reject{Code: TransferTimedOut, Message: "the ILDCP request has expired"}
	}
	return nil
}

// Config is what a parent tells its child by ILDCP.
type Config struct {
	Client     Address
	AssetScale uint8
	AssetCode  string // UTF-8 of at most 255 bytes
}

// Fulfill is the reply that carries c, or ErrPacket.
func (c Config) Fulfill() (*Fulfill, error) {
	if _, err := ParseAddress(string(c.Client)); err != nil {
		return nil, fmt.Errorf("%w: ILDCP client: %w", ErrPacket, err)
	}
	if len(c.AssetCode) > maxAssetCode || !utf8.ValidString(c.AssetCode) {
		return nil, fmt.Errorf("%w: ILDCP asset code", ErrPacket)
	}
	data := append(appendVar(nil, c.Client), c.AssetScale)
	return &Fulfill{Data: appendVar(data, c.AssetCode)}, nil
}

// DecodeConfig reads the configuration out of a reply; otherwise ErrPacket.
func DecodeConfig(f *Fulfill) (Config, error) {
	if f.Preimage != (cypherlink.Preimage{}) {
		return Config{}, fmt.Errorf("%w: an ILDCP reply has the preimage of 32 zero bytes", ErrPacket)
	}
	d := decoder{buf: f.Data}
	c := Config{Client: d.address(false), AssetScale: d.u8(), AssetCode: string(d.variable(maxAssetCode))}
	if err := d.end(); err != nil {
		return Config{}, fmt.Errorf("%w: ILDCP reply: %w", ErrPacket, err)
	}
	if !utf8.ValidString(c.AssetCode) {
		return Config{}, fmt.Errorf("%w: ILDCP asset code is not UTF-8", ErrPacket)
	}
	return c, nil
}
