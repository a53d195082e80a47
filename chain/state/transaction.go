package state

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrTransaction means that bytes are not a transaction.
var ErrTransaction = errors.New("state: malformed transaction")

// MaxTransaction bounds the canonical bytes of a transaction.
const MaxTransaction = 1 + max(ledger.MaxCommand, channels.MaxAction)

// The first byte of a transaction is the kind of its body.
const (
	bodyCommand  uint8 = 1
	bodyRegistry uint8 = 2
	bodyAction   uint8 = 8
	bodyJoint    uint8 = 9
)

const transactionDomain wire.Domain = "cypherlink/transaction/v1"

// Transaction is one entry of a block's payload, decoded.
type Transaction struct {
	// Hash names the transaction with its signatures.
	Hash cypherlink.Hash
	Body Body
	raw  []byte
}

// Body is what a transaction asks for: a Command, a RegistryChange, a ChannelAction or a
// ChannelJoint.
//
//sumtype:decl
type Body interface {
	// Sender is the participant whose share of a member's pool it takes.
	Sender() cypherlink.ParticipantID
	// Subject is what the events of its effect are about: State.LatestEvent finds them by it.
	Subject(network cypherlink.NetworkID) cypherlink.Hash
	kind() uint8
	encode() []byte
	// apply checks the body, whose signatures are verified, and writes its effect into the block
	// in the making. The error is nil, a refusal (*cypherlink.Error), ledger.ErrRepeated if the
	// effect stands already, or one of the store.
	apply(s *State, v *Version) error
}

// NewTransaction is the transaction with the body.
func NewTransaction(body Body) *Transaction {
	raw := append([]byte{body.kind()}, body.encode()...)
	return &Transaction{Hash: wire.Sum(transactionDomain, raw), Body: body, raw: raw}
}

// DecodeTransaction takes exactly the form of Encode; otherwise ErrTransaction. It checks the
// form, not the signatures. The result shares memory with b.
func DecodeTransaction(b []byte) (*Transaction, error) {
	if len(b) == 0 || len(b) > MaxTransaction {
		return nil, fmt.Errorf("%d bytes: %w", len(b), ErrTransaction)
	}
	body, err := decodeBody(b[0], b[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTransaction, err)
	}
	return &Transaction{Hash: wire.Sum(transactionDomain, b), Body: body, raw: b}, nil
}

func decodeBody(kind uint8, b []byte) (Body, error) {
	switch kind {
	case bodyCommand:
		signed, err := ledger.DecodeCommand(b)
		return Command{signed}, err
	case bodyRegistry:
		certified, err := chain.DecodeChange(b)
		return RegistryChange{certified}, err
	case bodyAction:
		signed, err := channels.DecodeAction(b)
		return ChannelAction{signed}, err
	case bodyJoint:
		return decodeJoint(b)
	default:
		return nil, fmt.Errorf("kind %d", kind)
	}
}

// Encode is the canonical form: a kind byte, and the body follows. The caller does not change
// it.
func (t *Transaction) Encode() []byte { return t.raw }

// Command is a signed command to the chain as a ledger.
type Command struct{ Signed *ledger.SignedCommand }

// Sender is the signer.
func (c Command) Sender() cypherlink.ParticipantID { return c.Signed.Signer }

// Subject is the id of the custody or the crossing.
func (c Command) Subject(network cypherlink.NetworkID) cypherlink.Hash {
	return c.Signed.Command.About(network)
}

func (c Command) kind() uint8 { return bodyCommand }

func (c Command) encode() []byte { return c.Signed.Encode() }

func (c Command) apply(s *State, v *Version) error {
	if c.Signed.Crosses() {
		_, err := v.rules.charter.Cross(book{s, v}, v.timeMS, c.Signed)
		return err
	}
	_, err := v.rules.charter.Apply(book{s, v}, v.timeMS, c.Signed)
	return err
}
