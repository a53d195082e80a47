package state

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrTransaction means that bytes are not a transaction.
var ErrTransaction = errors.New("state: malformed transaction")

// MaxTransaction bounds the canonical bytes of a transaction.
const MaxTransaction = 1 + ledger.MaxCommand

// transactionCommand is the first byte of a ledger command. Registry changes, channels and
// the ramp will have others.
const transactionCommand uint8 = 1

const transactionDomain wire.Domain = "cypherlink/transaction/v1"

// Transaction is one entry of a block's payload, decoded.
type Transaction struct {
	// Hash names the transaction with its signature.
	Hash    cypherlink.Hash
	Command *ledger.SignedCommand
	raw     []byte
}

// NewTransaction is the transaction that carries the command.
func NewTransaction(command *ledger.SignedCommand) *Transaction {
	raw := append([]byte{transactionCommand}, command.Encode()...)
	return &Transaction{Hash: wire.Sum(transactionDomain, raw), Command: command, raw: raw}
}

// DecodeTransaction takes exactly the form of Encode; otherwise ErrTransaction. It checks the
// form, not the signature. The result shares memory with b.
func DecodeTransaction(b []byte) (*Transaction, error) {
	if len(b) == 0 || b[0] != transactionCommand {
		return nil, fmt.Errorf("kind % .1x: %w", b, ErrTransaction)
	}
	command, err := ledger.DecodeCommand(b[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTransaction, err)
	}
	return &Transaction{Hash: wire.Sum(transactionDomain, b), Command: command, raw: b}, nil
}

// Encode is the canonical form: a kind byte, and what it says follows. The caller does not
// change it.
func (t *Transaction) Encode() []byte { return t.raw }

// Verify authenticates transactions in one batch; those that it has seen before cost little. The
// result has a refusal of package ledger, or nil, at each transaction's place. Any goroutine may
// call it.
func (s *State) Verify(txs []*Transaction) []error {
	commands := make([]*ledger.SignedCommand, len(txs))
	for i, tx := range txs {
		commands[i] = tx.Command
	}
	return s.charter.Authenticate(commands...)
}
