package kafkaledger

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// errValue means that the value of a Kafka record is none of ours.
var errValue = errors.New("kafkaledger: malformed value")

const (
	commandDomain wire.Domain = "cypherlink/kafka-command/v1"
	queryDomain   wire.Domain = "cypherlink/kafka-query/v1"
	refusalDomain wire.Domain = "cypherlink/kafka-refusal/v1"
)

// The first byte of a value says what follows.
const (
	kindCommand uint8 = 1 // commands: a ledger.SignedCommand
	kindQuery   uint8 = 2 // commands: a query
	kindRecord  uint8 = 3 // events: a ledger.Record
	kindRefusal uint8 = 4 // events: a refusal
	kindPassage uint8 = 5 // events: a ledger.RampRecord
)

const (
	maxValue   = 1 + ledger.MaxCommand // no value is longer; a record is shorter
	maxCode    = 64
	maxReason  = 4
	maxMessage = 256
)

func frame(kind uint8, body []byte) []byte { return append([]byte{kind}, body...) }

// unframe splits a value; the body is a part of it.
func unframe(value []byte) (kind uint8, body []byte, err error) {
	if len(value) == 0 || len(value) > maxValue {
		return 0, nil, fmt.Errorf("%d bytes: %w", len(value), errValue)
	}
	return value[0], value[1:], nil
}

// commandHash names a signed command in a refusal. It covers the signature, so that nobody can
// have another's command refused by sending it with a wrong one.
func commandHash(encoded []byte) cypherlink.Hash { return wire.Sum(commandDomain, encoded) }

// query asks the host for the receipt that stands of a custody. It has no effect.
type query struct {
	network   cypherlink.NetworkID
	ledger    cypherlink.LedgerID
	signer    cypherlink.ParticipantID
	sequence  uint64 // the signer's own
	custody   ledger.CustodyID
	signature [64]byte
}

// frame is what the asker signs.
func (q *query) frame() cosi.Frame {
	w := wire.NewWriter(64)
	w.Str(string(q.ledger))
	w.Fixed(q.custody[:])
	return cosi.Frame{
		Type: cosi.Command, Network: q.network, Scope: cypherlink.Hash(q.signer),
		Sequence: q.sequence, Payload: wire.Sum(queryDomain, w.Bytes()),
	}
}

func (q *query) encode() []byte {
	w := wire.NewWriter(192)
	w.Fixed(q.network[:])
	w.Str(string(q.ledger))
	w.Fixed(q.signer[:])
	w.U64(q.sequence)
	w.Fixed(q.custody[:])
	w.Fixed(q.signature[:])
	return w.Bytes()
}

func decodeQuery(b []byte) (*query, error) {
	r := wire.NewReader(b)
	var q query
	r.Fixed(q.network[:])
	q.ledger = cypherlink.LedgerID(r.Str(cypherlink.MaxLedgerID))
	r.Fixed(q.signer[:])
	q.sequence = r.U64()
	r.Fixed(q.custody[:])
	r.Fixed(q.signature[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("query: %w: %w", errValue, err)
	}
	return &q, nil
}

// refusal is the host's signed no to one signed command.
type refusal struct {
	network   cypherlink.NetworkID
	ledger    cypherlink.LedgerID
	command   cypherlink.Hash
	code      cypherlink.Code
	reason    string
	message   string
	signature [64]byte
}

func newRefusal(o *ledger.Operator, command cypherlink.Hash, e *cypherlink.Error) *refusal {
	return &refusal{
		network: o.Network, ledger: o.Ledger, command: command,
		code: e.Code, reason: e.Reason, message: e.Message,
	}
}

// frame is what the operator signs. Its scope is the command.
func (r *refusal) frame() cosi.Frame {
	w := wire.NewWriter(256)
	r.appendContent(w)
	return cosi.Frame{
		Type: cosi.Refusal, Network: r.network, Scope: r.command,
		Payload: wire.Sum(refusalDomain, w.Bytes()),
	}
}

func (r *refusal) appendContent(w *wire.Writer) {
	w.Fixed(r.network[:])
	w.Str(string(r.ledger))
	w.Fixed(r.command[:])
	w.Str(string(r.code))
	w.Str(r.reason)
	w.Str(r.message)
}

func (r *refusal) encode() []byte {
	w := wire.NewWriter(256)
	r.appendContent(w)
	w.Fixed(r.signature[:])
	return w.Bytes()
}

func decodeRefusal(b []byte) (*refusal, error) {
	rd := wire.NewReader(b)
	var r refusal
	rd.Fixed(r.network[:])
	r.ledger = cypherlink.LedgerID(rd.Str(cypherlink.MaxLedgerID))
	rd.Fixed(r.command[:])
	r.code = cypherlink.Code(rd.Str(maxCode))
	r.reason = rd.Str(maxReason)
	r.message = rd.Str(maxMessage)
	rd.Fixed(r.signature[:])
	if r.code == "" {
		rd.Fail(fmt.Errorf("no code: %w", errValue))
	}
	if err := rd.End(); err != nil {
		return nil, fmt.Errorf("refusal: %w: %w", errValue, err)
	}
	return &r, nil
}

// check reports an error unless the operator says so about its ledger.
func (r *refusal) check(o *ledger.Operator) error {
	if r.network != o.Network || r.ledger != o.Ledger {
		return fmt.Errorf("a refusal of ledger %.16q: %w", string(r.ledger), errValue)
	}
	return cosi.VerifyEd25519(o.Key, r.frame(), r.signature)
}

// err is the refusal as the caller of Submit gets it.
func (r *refusal) err() error {
	return &cypherlink.Error{Code: r.code, Reason: r.reason, Message: r.message}
}
