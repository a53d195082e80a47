package ilp

import (
	"encoding/binary"
	"fmt"
)

// ErrorCode says why a packet was rejected (RFC 27): a class letter and two digits. A code
// that we do not know is treated by its class.
type ErrorCode string

// Codes of class F: final, the payer should not send the same again.
const (
	BadRequest                    ErrorCode = "F00"
	InvalidPacket                 ErrorCode = "F01"
	Unreachable                   ErrorCode = "F02"
	InvalidAmount                 ErrorCode = "F03"
	InsufficientDestinationAmount ErrorCode = "F04"
	WrongCondition                ErrorCode = "F05"
	UnexpectedPayment             ErrorCode = "F06"
	CannotReceive                 ErrorCode = "F07"
	AmountTooLarge                ErrorCode = "F08" // data: AmountLimit
	ApplicationError              ErrorCode = "F99"
)

// Codes of class T: temporary, the payer may send the same again later.
const (
	InternalError             ErrorCode = "T00"
	PeerUnreachable           ErrorCode = "T01"
	PeerBusy                  ErrorCode = "T02"
	ConnectorBusy             ErrorCode = "T03"
	InsufficientLiquidity     ErrorCode = "T04"
	RateLimited               ErrorCode = "T05"
	TemporaryApplicationError ErrorCode = "T99"
)

// Codes of class R: relative, the payer may try other amounts or a later expiry.
const (
	TransferTimedOut         ErrorCode = "R00"
	InsufficientSourceAmount ErrorCode = "R01"
	InsufficientTimeout      ErrorCode = "R02"
	RelativeApplicationError ErrorCode = "R99"
)

// Class is the first letter, 'F', 'T' or 'R', or 0 if c has not the form of a code.
func (c ErrorCode) Class() byte {
	if !c.valid() {
		return 0
	}
	return c[0]
}

// valid tells whether c is a class letter and two digits.
func (c ErrorCode) valid() bool {
	return len(c) == 3 && (c[0] == 'F' || c[0] == 'T' || c[0] == 'R') &&
		'0' <= c[1] && c[1] <= '9' && '0' <= c[2] && c[2] <= '9'
}

// AmountLimit is the data of an AmountTooLarge reject, in minor units of the receiving
// account: what came, and the greatest amount that would have passed.
type AmountLimit struct{ Received, Maximum uint64 }

// Encode is the 16 bytes of the reject's data.
func (l AmountLimit) Encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, l.Received), l.Maximum)
}

// DecodeAmountLimit takes exactly 16 bytes; otherwise ErrPacket.
func DecodeAmountLimit(data []byte) (AmountLimit, error) {
	d := decoder{buf: data}
	l := AmountLimit{Received: d.u64(), Maximum: d.u64()}
	if err := d.end(); err != nil {
		return AmountLimit{}, fmt.Errorf("%w: amount limit: %w", ErrPacket, err)
	}
	return l, nil
}
