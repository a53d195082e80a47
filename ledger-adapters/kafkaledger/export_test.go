package kafkaledger

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// What the tests write into topics themselves.
const (
	MaxValue    = maxValue
	KindCommand = kindCommand
	KindQuery   = kindQuery
	KindRecord  = kindRecord
	KindRefusal = kindRefusal
	KindPassage = kindPassage
)

// CommandValue is the value of a command.
func CommandValue(c *ledger.SignedCommand) []byte { return frame(kindCommand, c.Encode()) }

// RecordValue is the value of a record.
func RecordValue(r *ledger.Record) []byte { return frame(kindRecord, r.Encode()) }

// PassageValue is the value of a passage.
func PassageValue(r *ledger.RampRecord) []byte { return frame(kindPassage, r.Encode()) }

// QueryValue is the value of a question that the signer signs.
func QueryValue(o ledger.Operator, by cypherlink.ParticipantID, s Signer, id ledger.CustodyID) []byte {
	q := query{network: o.Network, ledger: o.Ledger, signer: by, sequence: 1, custody: id}
	q.signature, _ = s.Sign(q.frame())
	return frame(kindQuery, q.encode())
}

// RefusalValue is the value of a refusal of the command that the signer signs.
func RefusalValue(o ledger.Operator, s Signer, c *ledger.SignedCommand, code cypherlink.Code) []byte {
	r := newRefusal(&o, commandHash(c.Encode()), &cypherlink.Error{Code: code, Reason: "ED05", Message: "no"})
	r.signature, _ = s.Sign(r.frame())
	return frame(kindRefusal, r.encode())
}
