package ledger

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrCommand means that bytes are not a signed command.
var ErrCommand = errors.New("ledger: malformed command")

const commandDomain wire.Domain = "cypherlink/command/v1"

// MaxCommand bounds the canonical bytes of a signed command.
const MaxCommand = 48 << 10

const (
	kindPrepare uint8 = 1
	kindConfirm uint8 = 2
	kindReturn  uint8 = 3
	kindLeave   uint8 = 4
	kindEnter   uint8 = 5
)

// Command asks a ledger to change one custody (Prepare, Confirm, Return), or to let one crossing
// pass (Leave, Enter).
//
//sumtype:decl
type Command interface {
	// About is the id of the custody or the crossing that the command is about.
	About(network cypherlink.NetworkID) cypherlink.Hash
	appendWire(w *wire.Writer)
}

// Prepare moves the subject's amount from the debit account into custody. Only the debit
// account's owner may, with the verdicts that the asset's policy asks for.
type Prepare struct {
	Subject  validator.Subject
	Packet   []byte
	Verdicts []validator.Signed
}

// Confirm gives the value to the credit account. Any registered participant who knows the
// preimage may, before the expiry.
type Confirm struct {
	ID       CustodyID
	Preimage cypherlink.Preimage
}

// Return gives the value back to the debit account: before the expiry at the word of the
// credit account's owner alone, from the expiry on at anybody's.
type Return struct{ ID CustodyID }

// About derives the custody's id from terms hash and leg.
func (c *Prepare) About(network cypherlink.NetworkID) cypherlink.Hash {
	return cypherlink.Hash(NewCustodyID(network, c.Subject.Terms, c.Subject.Leg))
}

// About is the custody's id, which the command names.
func (c *Confirm) About(cypherlink.NetworkID) cypherlink.Hash { return cypherlink.Hash(c.ID) }

// About is the custody's id, which the command names.
func (c *Return) About(cypherlink.NetworkID) cypherlink.Hash { return cypherlink.Hash(c.ID) }

func (c *Prepare) appendWire(w *wire.Writer) {
	w.U8(kindPrepare)
	c.Subject.AppendWire(w)
	w.Var(c.Packet)
	w.U32(uint32(len(c.Verdicts))) //nolint:gosec // at most MaxValidators
	for i := range c.Verdicts {
		c.Verdicts[i].AppendWire(w)
	}
}

func (c *Confirm) appendWire(w *wire.Writer) {
	w.U8(kindConfirm)
	w.Fixed(c.ID[:])
	w.Fixed(c.Preimage[:])
}

func (c *Return) appendWire(w *wire.Writer) {
	w.U8(kindReturn)
	w.Fixed(c.ID[:])
}

// SignedCommand is a command to one ledger under its sender's Ed25519 signature: one form
// for the chain, for Kafka and for every other ledger.
type SignedCommand struct {
	Network cypherlink.NetworkID
	Ledger  cypherlink.LedgerID
	Signer  cypherlink.ParticipantID
	// Sequence is the signer's own counter. It tells apart two sendings; what makes a
	// command act once is its custody or its crossing.
	Sequence  uint64
	Command   Command
	Signature [64]byte
}

// Crosses tells whether the command is about a crossing; the others are about a custody.
func (c *SignedCommand) Crosses() bool {
	switch c.Command.(type) {
	case *Leave, *Enter:
		return true
	case *Prepare, *Confirm, *Return:
	}
	return false
}

// Frame is what the signer signs. Its scope is the signer.
func (c *SignedCommand) Frame() cosi.Frame {
	w := wire.NewWriter(1024)
	w.Str(string(c.Ledger))
	c.Command.appendWire(w)
	return cosi.Frame{
		Type: cosi.Command, Network: c.Network,
		Scope: cypherlink.Hash(c.Signer), Sequence: c.Sequence,
		Payload: wire.Sum(commandDomain, w.Bytes()),
	}
}

// Verify checks the signature with the signer's key.
func (c *SignedCommand) Verify(key [32]byte) error {
	if err := cosi.VerifyEd25519(key, c.Frame(), c.Signature); err != nil {
		return fmt.Errorf("command of %s: %w", c.Signer, err)
	}
	return nil
}

// Encode is the canonical form, at most MaxCommand bytes for a command that Decode accepts.
func (c *SignedCommand) Encode() []byte {
	w := wire.NewWriter(1024)
	w.Fixed(c.Network[:])
	w.Str(string(c.Ledger))
	w.Fixed(c.Signer[:])
	w.U64(c.Sequence)
	c.Command.appendWire(w)
	w.Fixed(c.Signature[:])
	return w.Bytes()
}

// DecodeCommand takes exactly the form of Encode; otherwise ErrCommand. It checks the form,
// not the signature. The result shares memory with b.
func DecodeCommand(b []byte) (*SignedCommand, error) {
	if len(b) > MaxCommand {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxCommand, ErrCommand)
	}
	r := wire.NewReader(b)
	var c SignedCommand
	r.Fixed(c.Network[:])
	c.Ledger = readLedger(r)
	r.Fixed(c.Signer[:])
	c.Sequence = r.U64()
	c.Command = readCommand(r)
	r.Fixed(c.Signature[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	return &c, nil
}

func readLedger(r *wire.Reader) cypherlink.LedgerID {
	id := cypherlink.LedgerID(r.Str(cypherlink.MaxLedgerID))
	if r.Err() == nil {
		if err := id.Valid(); err != nil {
			r.Fail(err)
		}
	}
	return id
}

func readCommand(r *wire.Reader) Command {
	switch kind := r.U8(); kind {
	case kindPrepare:
		c := &Prepare{Subject: validator.ReadSubject(r), Packet: r.Var(MaxPacket)}
		for n := r.Count(validator.MaxValidators, 64); n > 0; n-- {
			c.Verdicts = append(c.Verdicts, validator.ReadSigned(r))
		}
		return c
	case kindConfirm:
		var c Confirm
		r.Fixed(c.ID[:])
		r.Fixed(c.Preimage[:])
		return &c
	case kindReturn:
		var c Return
		r.Fixed(c.ID[:])
		return &c
	case kindLeave:
		return &Leave{ReadCrossing(r)}
	case kindEnter:
		return &Enter{Crossing: ReadCrossing(r), Evidence: r.Var(MaxEvidence)}
	default:
		r.Fail(fmt.Errorf("kind %d: %w", kind, ErrCommand))
		return nil
	}
}
