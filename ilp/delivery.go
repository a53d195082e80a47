package ilp

import (
	"fmt"
	"io"
	"time"

	"github.com/cypherlink/cypherlink"
)

// Delivery is what the payer's bank tells the payee's bank inside a packet, and nobody else
// can read.
type Delivery struct {
	// Minimum is the least that has to arrive, in minor units of the payee's asset.
	Minimum cypherlink.Amount
	// Content is the private content, such as the hash of the terms. Its length shows.
	Content []byte
}

// deliveryStream is the first stream that a client may open.
const deliveryStream = 1

// NewPrepare is the packet with which the payer's bank pays to an address under the secret
// that the payee's bank gave with it. amount is what the first hop gets; random is a
// cryptographic source. The packet is a STREAM packet as every implementation sends it: one
// stream that holds all the money, and the content as its data.
func (s SharedSecret) NewPrepare(
	random io.Reader, to Address, amount cypherlink.Amount, expiresAt time.Time, delivery Delivery,
) (*Prepare, error) {
	if amount < 0 || delivery.Minimum < 0 {
		return nil, fmt.Errorf("pay %d, deliver %d: %w", amount, delivery.Minimum, cypherlink.ErrAmountRange)
	}
	packet := StreamPacket{
		Carrier: TypePrepare, Sequence: 1, Amount: uint64(delivery.Minimum),
		Frames: []Frame{
			StreamMoney{StreamID: deliveryStream, Shares: 1},
			StreamData{StreamID: deliveryStream, Data: delivery.Content},
		},
	}
	plaintext, err := packet.Encode()
	if err != nil {
		return nil, err
	}
	envelope, err := s.Seal(random, plaintext)
	if err != nil {
		return nil, err
	}
	p := &Prepare{
		Amount: uint64(amount), ExpiresAt: expiresAt, Destination: to, Data: envelope,
		Condition: s.Preimage(envelope).Condition(),
	}
	if _, err := p.Encode(); err != nil { // the bounds
		return nil, err
	}
	return p, nil
}

// Receive is what the payee's bank does with a packet to an address below base: it derives
// the preimage and the condition itself and opens the envelope. The preimage is the proof of
// payment: reveal it only against final custody of what the terms promise. A packet that it
// cannot accept is refused with a *Reject: UnexpectedPayment if the address, the envelope or
// its content is not as NewPrepare makes them, WrongCondition, InsufficientDestinationAmount
// if less than the minimum arrives.
func (s ServerSecret) Receive(base Address, p *Prepare) (Delivery, cypherlink.Preimage, error) {
	secret, err := s.Recover(base, p.Destination)
	if err != nil {
		return Delivery{}, cypherlink.Preimage{}, &Reject{Code: UnexpectedPayment, Message: err.Error()}
	}
	preimage := secret.Preimage(p.Data)
	if !p.Condition.FulfilledBy(preimage) {
		return Delivery{}, cypherlink.Preimage{}, &Reject{
			Code: WrongCondition, Message: "the receiver derives another condition",
		}
	}
	delivery, err := secret.openDelivery(p.Data)
	if err != nil {
		return Delivery{}, cypherlink.Preimage{}, &Reject{Code: UnexpectedPayment, Message: err.Error()}
	}
	if p.Amount < uint64(delivery.Minimum) { //nolint:gosec // not negative: openDelivery
		return Delivery{}, cypherlink.Preimage{}, &Reject{
			Code:    InsufficientDestinationAmount,
			Message: fmt.Sprintf("%d arrived, at least %d is due", p.Amount, delivery.Minimum),
		}
	}
	return delivery, preimage, nil
}

// openDelivery reads an envelope that NewPrepare made.
func (s SharedSecret) openDelivery(envelope []byte) (Delivery, error) {
	plaintext, err := s.Open(envelope)
	if err != nil {
		return Delivery{}, err
	}
	packet, err := DecodeStream(plaintext)
	if err != nil {
		return Delivery{}, err
	}
	if packet.Carrier != TypePrepare {
		return Delivery{}, fmt.Errorf("%w: made for a carrier of type %d", ErrStream, packet.Carrier)
	}
	minimum, err := ToAmount(packet.Amount)
	if err != nil {
		return Delivery{}, err
	}
	delivery := Delivery{Minimum: minimum}
	found := false
	for _, f := range packet.Frames {
		data, ok := f.(StreamData)
		if !ok {
			continue
		}
		if found || data.StreamID != deliveryStream || data.Offset != 0 {
			return Delivery{}, fmt.Errorf("%w: the content is not one piece", ErrStream)
		}
		delivery.Content, found = data.Data, true
	}
	if !found {
		return Delivery{}, fmt.Errorf("%w: no content", ErrStream)
	}
	return delivery, nil
}
