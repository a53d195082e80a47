package payment

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// lockedProof is the proof of a payment whose destination leg moved in a lane of the clearing bank to Bank B.
type lockedProof struct {
	testing.TB
	*network
	proof *Proof
	lock  channels.Lock
}

// newLockedProof makes it of a settled payment's.
func newLockedProof(t *testing.T) *lockedProof {
	t.Helper()
	n, raw := settled(t)
	good, err := DecodeProof(n.genesis, raw)
	if err != nil {
		t.Fatal(err)
	}
	quote := *good.Quote
	quote.Quote.Destination.Account.Number = ledger.ChannelNumber
	if quote.Signature, err = n.clearing.identity.Sign(quote.Quote.Frame()); err != nil {
		t.Fatal(err)
	}
	x := *good.Terms.Terms
	x.Legs, x.Quote = slices.Clone(x.Legs), quote.Quote.Hash()
	x.Legs[1].Debit.Number, x.Legs[1].Credit.Number = ledger.ChannelNumber, ledger.ChannelNumber
	p := &lockedProof{TB: t, network: n, proof: &Proof{Terms: n.prove(t, &x), Quote: &quote}}
	for leg := range p.proof.Legs {
		p.proof.Legs[leg].Verdicts = n.verdicts(t, &x, uint8(leg))
	}
	source := &p.proof.Legs[terms.Source]
	for to, from := range map[*Statement]*Statement{
		&source.Prepared: &good.Legs[0].Prepared, &source.Confirmed: &good.Legs[0].Confirmed,
	} {
		r := from.Receipt
		r.Custody.ID, r.Custody.Subject, r.Evidence = p.proof.custody(0), p.proof.subject(0), nil
		if *to, err = readEvidence(n.genesis, "de", n.record(t)(r)); err != nil {
			t.Fatal(err)
		}
	}
	s := p.proof.subject(1)
	p.lock, _ = LockOf(n.genesis.Network(), &s)
	custody := good.Legs[1].Confirmed.Receipt.Custody
	custody.ID, custody.Subject = p.proof.custody(1), s
	p.says(p.clearing, custody, channels.Settle{Lock: p.lock.ID, Preimage: custody.Preimage})
	return p
}

// says makes the receipt of the lane what a bank says: of a custody, with that operation proved, nil for none.
func (p *lockedProof) says(by *player, custody ledger.Custody, op channels.Operation) {
	p.Helper()
	network := p.genesis.Network()
	r := &LaneReceipt{Network: network, Bank: by.id(), Receipt: ledger.Receipt{
		Ledger: p.genesis.Chain(), Custody: custody, Sequence: 2,
		TimeMS: p.proof.Legs[0].Confirmed.Receipt.TimeMS,
	}}
	if op != nil {
		banks := channels.InOrder([2]cypherlink.ParticipantID{p.clearing.id(), p.b.id()})
		lane := channels.A
		if banks[channels.B] == p.clearing.id() {
			lane = channels.B
		}
		u := chaintest.Sealed(channels.Update{
			Lane: lane, Body: channels.BodyRoot([]channels.Operation{op}), Head: channels.Head{Seq: 1},
		})
		r.Proof = &LockProof{Operation: op, Updates: []channels.Update{u}}
		r.Proof.Payer, _ = p.clearing.identity.SignRecorded(u.Frame(network))
		r.Proof.Payee, _ = p.b.identity.SignRecorded(u.Frame(network))
		for _, v := range p.validators[1:3] {
			e := channels.Endorsement{Validator: v.id()}
			e.Signature, _ = v.identity.SignRecorded(u.Frame(network))
			r.Proof.Endorsements = append(r.Proof.Endorsements, e)
		}
	}
	r.Signature, _ = by.identity.Sign(r.Frame())
	s := Statement{Receipt: r.Receipt, Lane: r}
	s.Receipt.Evidence = r.Encode()
	p.proof.Legs[1].Confirmed = s
}

func (p *lockedProof) verify() (*Findings, error) {
	raw, err := p.proof.Encode(p.genesis)
	if err != nil {
		return nil, err
	}
	return VerifyReceipt(p.genesis, raw)
}

// A receipt whose leg moved in a lane says what the lane's certificate proves, apart from what a bank says.
func TestReceiptOfALock(t *testing.T) {
	p := newLockedProof(t)
	f, err := p.verify()
	if err != nil {
		t.Fatal(err)
	}
	settledInLane := "Channel of Clearing Bank and Bank B: both and the Validators signed that the lock of custody"
	if said := strings.Join(f.Proved, "\n"); !strings.Contains(said, settledInLane) {
		t.Error(said)
	}
	if len(f.Stated) != 1 { // the operator's
		t.Error(f.Stated)
	}
	p.says(p.b, p.proof.Legs[1].Confirmed.Receipt.Custody, p.lock)
	if f, err = p.verify(); err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(f.Stated, "\n"); !strings.Contains(said, "Bank B says that custody") {
		t.Error(said)
	}
}

func TestReceiptsOfLocksThatDoNotHold(t *testing.T) {
	for name, edit := range map[string]func(p *lockedProof, c ledger.Custody){
		"the bank's word alone": func(p *lockedProof, c ledger.Custody) { p.says(p.clearing, c, nil) },
		"a third bank's word":   func(p *lockedProof, c ledger.Custody) { p.says(p.a, c, p.lock) },
		"unlocked": func(p *lockedProof, c ledger.Custody) {
			c.State, c.Preimage = ledger.Returned, cypherlink.Preimage{}
			p.says(p.clearing, c, channels.Unlock{Lock: p.lock.ID})
		},
		"still locked": func(p *lockedProof, c ledger.Custody) {
			c.State, c.Preimage = ledger.Prepared, cypherlink.Preimage{}
			p.says(p.clearing, c, p.lock)
		},
		"of other terms": func(p *lockedProof, c ledger.Custody) {
			c.Subject.Terms[0]++
			c.ID = ledger.NewCustodyID(p.genesis.Network(), c.Subject.Terms, 1)
			lock, _ := LockOf(p.genesis.Network(), &c.Subject)
			p.says(p.clearing, c, lock)
		},
		"a verdict less": func(p *lockedProof, _ ledger.Custody) { p.proof.Legs[1].Verdicts = p.proof.Legs[1].Verdicts[:1] },
		"another packet": func(p *lockedProof, c ledger.Custody) {
			c.Packet = p.proof.Legs[0].Prepared.Receipt.Custody.Packet
			p.says(p.clearing, c, p.lock)
		},
		"a quote of the chain's account": func(p *lockedProof, _ ledger.Custody) {
			quote := *p.proof.Quote
			quote.Quote.Destination.Account.Number = 0
			quote.Signature, _ = p.clearing.identity.Sign(quote.Quote.Frame())
			p.proof.Quote = &quote
		},
	} {
		p := newLockedProof(t)
		edit(p, p.proof.Legs[1].Confirmed.Receipt.Custody)
		if _, err := p.verify(); !errors.Is(err, ErrReceipt) && !errors.Is(err, ErrLaneEvidence) &&
			!errors.Is(err, connector.ErrQuoteDiffers) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := newLockedProof(t)
	raw, err := p.proof.Encode(p.genesis)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	at := strings.LastIndex(text, `      "confirmed":`)
	twice := text[:at] + strings.Replace(text[at:], `"confirmed"`, `"prepared"`, 1)
	if _, err := VerifyReceipt(p.genesis, []byte(twice)); !errors.Is(err, ErrReceipt) {
		t.Errorf("prepared in the place of confirmed: %v", err)
	}
}
