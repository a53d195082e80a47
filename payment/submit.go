package payment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/iso20022"
)

// Answer is what an instruction was answered with.
type Answer struct {
	// Payment is as it was when the answer was first given.
	Payment *Payment
	// Report says the same as a pacs.002, if the instruction was one of XML; otherwise nil.
	Report []byte
	// Replayed says that the answer had been given before.
	Replayed bool
}

// Submit takes an instruction and answers with the payment as it is once that is durable:
// received and checked, or rejected with a reason. The same key with the same body gives the same
// answer again; a key that is new for a payment that is not, gives the payment as it stands now;
// the same key with another body is CodeKeyReused, and a UETR of another payment CodeUETR. The
// key of JSON is 1 to 512 printable ASCII characters; that of a pacs.008 is its instructing agent
// and message id, whatever key says. What is no instruction is refused, and nothing is stored.
// Calls with one key wait for each other, so none is ever told that another is under way; calls
// before Run wait for it.
func (c *Connect) Submit(ctx context.Context, raw []byte, format Format, key string) (*Answer, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	i, err := Parse(raw, format, c.Random)
	if err != nil {
		return nil, err
	}
	if err := c.fillIn(i); err != nil {
		return nil, err
	}
	if format == XML {
		key = i.key()
	} else if key, err = checkKey("json/", key); err != nil {
		return nil, err
	}
	s := submission{connect: c, in: Instruct{Instruction: i, Format: format, Raw: raw, Key: key}}
	if err := c.Store.Update(ctx, s.store); err != nil {
		return nil, err
	}
	a := &Answer{Replayed: s.machine == nil}
	if a.Payment, _, err = view(c.Bank, s.log); err != nil {
		return nil, err
	}
	if format == XML {
		if a.Report, err = report(c.Bank, s.log); err != nil {
			return nil, err
		}
	}
	if s.machine != nil {
		c.begin(&s, a.Payment)
	}
	return a, nil
}

// fillIn names the banks that an instruction leaves out: the debtor's is this one, and the creditor's
// the only one with which this bank has an open channel in the asset.
func (c *Connect) fillIn(i *Instruction) error {
	if i.DebtorAgent.IsZero() {
		own, _ := c.Bank.Genesis.Participant(c.Bank.ID)
		i.DebtorAgent = own.BIC
	}
	if !i.CreditorAgent.IsZero() {
		return nil
	}
	asset, err := assetNamed(c.Bank.Genesis, i.Asset)
	if err != nil {
		return &cypherlink.Error{
			Code: CodeMalformed, Reason: "AM03", Pointer: i.pointer("/destination/asset"), Err: err,
			Message: "not the name of one asset, and the creditor's bank is left out",
		}
	}
	peers := c.Tellers.peersIn(asset)
	if len(peers) != 1 {
		return &cypherlink.Error{
			Code: iso20022.CodeBIC, Reason: "RC04", Pointer: "/creditor/agent",
			Message: fmt.Sprintf("name the creditor's bank: it may be left out where this bank has an open "+
				"channel in the asset with one bank, and it has %d", len(peers)),
		}
	}
	peer, _ := c.Bank.Genesis.Participant(peers[0])
	i.CreditorAgent = peer.BIC
	return nil
}

// begin lets a payment that is stored go on.
func (c *Connect) begin(s *submission, p *Payment) {
	if c.Changed != nil {
		c.Changed(p)
	}
	if s.machine.Over() {
		return
	}
	l := newOutgoingLive(p.UETR, s.machine, len(s.effects.Persist))
	l.first = s.effects
	c.start(l)
}

// longestKey bounds an idempotency key, in bytes.
const longestKey = 512

// checkKey is the key behind a prefix of its own for each kind of request; otherwise CodeKey.
func checkKey(prefix, key string) (string, error) {
	for _, b := range []byte(key) {
		if b <= ' ' || b > '~' {
			key = ""
		}
	}
	if key == "" || len(key) > longestKey {
		return "", refuse(CodeKey, "", "an idempotency key is 1 to 512 printable ASCII characters", nil)
	}
	return prefix + key, nil
}

// standingUnder is the stream that an idempotency key stands for, empty if there is none, and how
// many of its events the answer was made of. Another body than came first under the key is
// CodeKeyReused.
func standingUnder(tx *store.Tx, key string, body []byte) (stream string, answered int, err error) {
	hash := sha256.Sum256(body)
	var first []byte
	row := tx.QueryRow(`SELECT body, stream, answered FROM idempotency_keys WHERE key = $1`, key)
	switch err := row.Scan(&first, &stream, &answered); {
	case errors.Is(err, store.ErrNoRow):
		return "", 0, nil
	case err != nil:
		return "", 0, err
	case !bytes.Equal(first, hash[:]):
		return "", 0, refuse(CodeKeyReused, "DU01", "the idempotency key was used with another body", nil)
	}
	return stream, answered, nil
}

// standUnder makes a stream what an idempotency key stands for, answered with so many of its
// events.
func standUnder(tx *store.Tx, key string, body []byte, stream string, answered int) error {
	hash := sha256.Sum256(body)
	_, err := tx.Exec(`INSERT INTO idempotency_keys (key, body, stream, answered) VALUES ($1, $2, $3, $4)`,
		key, hash[:], stream, answered)
	return err
}

// forget lets an idempotency key stand for nothing: what it was sent with was refused.
func forget(tx *store.Tx, key string) error {
	_, err := tx.Exec(`DELETE FROM idempotency_keys WHERE key = $1`, key)
	return err
}

// submission is one Submit in the store.
type submission struct {
	connect *Connect
	in      Instruct
	// log is what the answer is made of.
	log []Event
	// machine is a new payment's, with its first effects; otherwise nil.
	machine *Outgoing
	effects Effects
}

// store finds what the key or the UETR stands for, or begins a payment. It may run more than
// once.
func (s *submission) store(tx *store.Tx) error {
	s.machine = nil
	stream, answered, err := standingUnder(tx, s.in.Key, s.in.Raw)
	if err != nil {
		return err
	}
	if stream != "" {
		if s.log, err = loadLog(&tx.Reader, stream, s.connect.Bank.Genesis); err != nil {
			return err
		}
		if answered < 1 || answered > len(s.log) {
			return fmt.Errorf("an answer of %d of %d events: %w", answered, len(s.log), ErrEvent)
		}
		s.log = s.log[:answered]
		return nil
	}
	stream = streamOf(s.in.Instruction.UETR)
	if s.log, err = loadLog(&tx.Reader, stream, s.connect.Bank.Genesis); err != nil {
		return err
	}
	if len(s.log) > 0 {
		first, ok := s.log[0].Fact.(Instructed)
		if !ok || first.Instruction.digest() != s.in.Instruction.digest() {
			return refuse(CodeUETR, "DU03", "the UETR stands for another payment", nil)
		}
	} else if err := s.begin(tx, stream); err != nil {
		return err
	}
	return standUnder(tx, s.in.Key, s.in.Raw, stream, len(s.log))
}

func (s *submission) begin(tx *store.Tx, stream string) error {
	m, err := NewOutgoing(s.connect.Bank, s.connect.Random, nil)
	if err != nil {
		return err
	}
	if s.effects, err = m.Step(time.Now(), s.in); err != nil {
		return err
	}
	s.machine, s.log = m, s.effects.Persist
	return keep(tx, stream, 0, false, m, s.effects)
}

// Payment is where a payment stands, or CodeUnknown. The caller does not change it.
func (c *Connect) Payment(ctx context.Context, uetr cypherlink.UETR) (*Payment, error) {
	c.mu.Lock()
	l := c.byUETR[uetr]
	c.mu.Unlock()
	if l != nil {
		if p := l.shown.Load(); p != nil {
			return p, nil
		}
	}
	log, err := c.logOf(ctx, uetr)
	if err != nil {
		return nil, err
	}
	p, _, err := view(c.Bank, log)
	return p, err
}

// Events are the events of a payment, oldest first, or CodeUnknown.
func (c *Connect) Events(ctx context.Context, uetr cypherlink.UETR) ([]Entry, error) {
	log, err := c.logOf(ctx, uetr)
	if err != nil {
		return nil, err
	}
	_, entries, err := view(c.Bank, log)
	return entries, err
}

// Slot is where a payment of this bank's stands in its channel's lane; ok tells whether it does. An
// unknown payment is CodeUnknown.
func (c *Connect) Slot(ctx context.Context, uetr cypherlink.UETR) (slot channels.Slot, ok bool, err error) {
	log, err := c.logOf(ctx, uetr)
	if err != nil {
		return slot, false, err
	}
	for _, e := range log {
		if f, laned := e.Fact.(Laned); laned {
			slot, ok = f.Slot, true
		}
	}
	return slot, ok, nil
}

// Status002 is the payment's state as a pacs.002, or CodeUnknown. As long as the payment does
// not change it is the same message.
func (c *Connect) Status002(ctx context.Context, uetr cypherlink.UETR) ([]byte, error) {
	log, err := c.logOf(ctx, uetr)
	if err != nil {
		return nil, err
	}
	return report(c.Bank, log)
}

// Return004 is a payment of this bank's that brings another one back, as a pacs.004; CodeNoReturn for one
// that does not, or CodeUnknown. It is the same message at any time: the return travels as a payment, and
// where that stands its pacs.002 says.
func (c *Connect) Return004(ctx context.Context, uetr cypherlink.UETR) ([]byte, error) {
	log, err := c.logOf(ctx, uetr)
	if err != nil {
		return nil, err
	}
	first, outgoing := log[0].Fact.(Instructed)
	if !outgoing || first.Instruction.Returns.IsZero() {
		return nil, refuse(CodeNoReturn, "", "the payment brings no other one back", nil)
	}
	original, err := c.logOf(ctx, first.Instruction.Returns)
	if err != nil {
		return nil, err
	}
	return returnMessage(c.Bank, moment(log[0].At), first.Instruction, refusedFor(original))
}

// Receipt is the proof of a settled outgoing payment, as Proof.Encode writes it, or
// CodeNoReceipt, or CodeReceiptless if there will be none, or CodeUnknown.
func (c *Connect) Receipt(ctx context.Context, uetr cypherlink.UETR) ([]byte, error) {
	log, err := c.logOf(ctx, uetr)
	if err != nil {
		return nil, err
	}
	if _, outgoing := log[0].Fact.(Instructed); !outgoing {
		return nil, refuse(CodeReceiptless, "", "the bank that pays has the receipt", nil)
	}
	o, err := NewOutgoing(c.Bank, c.Random, log)
	if err != nil {
		return nil, err
	}
	if slices.Contains([]Status{StatusRejected, StatusExpired, StatusAborted}, o.Status()) {
		return nil, refuse(CodeReceiptless, "", "the payment has ended without being settled", nil)
	}
	if o.direct() {
		return c.laneReceipt(ctx, o)
	}
	proof, ok := o.Proof()
	if !ok {
		return nil, refuse(CodeNoReceipt, "", "not all of the payment's evidence is here", nil)
	}
	return proof.Encode(c.Bank.Genesis)
}
