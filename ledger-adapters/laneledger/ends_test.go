package laneledger_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/laneledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/payment"
)

// submit hands a command in at an end and wants its custody in that state.
func (s *strait) submit(of ledgertest.Actor, c *ledger.SignedCommand, want ledger.State) ledger.Receipt {
	s.Helper()
	r, err := s.end(of).ledger.Submit(s.Context(), c)
	if err != nil || r.Custody.State != want {
		s.Fatalf("%T: %s, %v", c.Command, r.Custody.State, err)
	}
	return r
}

// becomes waits until an end tells of the custody in that state.
func (s *strait) becomes(of ledgertest.Actor, id ledger.CustodyID, want ledger.State) {
	s.Helper()
	s.eventually("the custody is "+want.String(), func() bool {
		r, err := s.end(of).ledger.Lookup(s.Context(), id)
		return err == nil && r.Custody.State == want
	})
}

func (s *strait) until(second int64) { s.advance(time.Unix(second, 0).Sub(s.now())) }

func (s *strait) verifier() *payment.LaneVerifier {
	return &payment.LaneVerifier{Network: s.world.Network, Ledger: s.world.Ledger, Roll: s.chain.Registry()}
}

// A payer that has gone away after the preimage is on the chain: its payee is paid all the same (H2), and
// the payer, when it is back, has paid.
func TestPayerIsGone(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	s.halt(w.Alice)
	r := s.submit(w.Bob, w.Confirm(w.Bob, p), ledger.Confirmed)
	if r.Custody.Preimage != p.Preimage {
		t.Error("another preimage")
	}
	s.start(w.Alice)
	s.becomes(w.Alice, w.ID(p), ledger.Confirmed)
}

// A Prepare that is repeated while its lock settles reaches the lane after it: it locks nothing again.
func TestOrderAfterTheEnd(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	free := func() cypherlink.Amount {
		ch, err := s.end(w.Alice).connect.Tellers.Channel(s.Context(), s.id)
		if err != nil {
			t.Fatal(err)
		}
		return ch.Free
	}
	had := free()
	confirmed := s.world.Payment("one", 700, s.now().Unix()+20)
	returned := s.world.Payment("two", 200, s.now().Unix()+20)
	for _, p := range []ledgertest.Payment{confirmed, returned} {
		s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	}
	s.submit(w.Bob, w.Confirm(w.Bob, confirmed), ledger.Confirmed)
	s.submit(w.Bob, w.Return(w.Bob, returned), ledger.Returned)
	s.becomes(w.Alice, w.ID(confirmed), ledger.Confirmed)
	s.becomes(w.Alice, w.ID(returned), ledger.Returned)
	s.eventually("the locks have left the lane", func() bool { return free() == had-700 })
	for _, p := range []ledgertest.Payment{confirmed, returned} {
		s.end(w.Alice).connect.Tellers.Locks().Make(w.Prepare(p).Command.(*ledger.Prepare))
	}
	later := s.world.Payment("three", 10, s.now().Unix()+20)
	s.submit(w.Alice, w.Prepare(later), ledger.Prepared)
	if got := free(); got != had-710 {
		t.Errorf("%d are free, want %d", got, had-710)
	}
}

// Reveals that the chain does not take in before the expiry: the lock lapses at both ends, and a preimage that
// is known afterwards pays nobody (H1, H4, H5).
func TestRevealIsTooLate(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	s.muted(func(a channels.Action) bool { _, is := a.(channels.Reveal); return is })
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	late := s.world.Payment("late", 300, s.now().Unix()+20)
	s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	s.submit(w.Alice, w.Prepare(late), ledger.Prepared)
	answer := make(chan error, 1)
	go func() {
		_, err := s.end(w.Bob).ledger.Submit(s.Context(), w.Confirm(w.Bob, p))
		answer <- err
	}()
	s.eventually("the reveal is on its way", s.chain.Ignored)
	s.until(late.Subject.Fields.Expiry - s.lanes.LagS - s.lanes.InclusionS)
	_, err := s.end(w.Bob).ledger.Submit(s.Context(), w.Confirm(w.Bob, late))
	if cypherlink.ErrorCode(err) != ledger.CodeExpired {
		t.Error("a preimage is released within the margin: ", err)
	}
	s.until(p.Subject.Fields.Expiry)
	s.muted(nil)
	s.advance(time.Second)
	s.becomes(w.Alice, w.ID(p), ledger.Returned)
	s.becomes(w.Bob, w.ID(p), ledger.Returned)
	if err := <-answer; cypherlink.ErrorCode(err) != ledger.CodeAlreadyReturned {
		t.Error(err)
	}
	_, err = s.end(w.Alice).ledger.Submit(s.Context(), w.Confirm(w.Mallory, p))
	if cypherlink.ErrorCode(err) != ledger.CodeAlreadyReturned {
		t.Error(err)
	}
}

// A lock whose countersignature is lost may be bound at its payee's end. Its payer's end does not say that there
// is no custody, however late it is, until that is final: else what stands behind it would be given back (H5).
func TestUnboundLockIsNotAbsent(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	s.setFault(func(from, _ cypherlink.ParticipantID, kind uint8) error {
		if from == w.Bob.ID && kind == payment.KindLane {
			return errDown
		}
		return nil
	})
	s.muted(func(a channels.Action) bool {
		switch a.(type) {
		case channels.Anchor, channels.Dispute:
			return true
		default:
			return false
		}
	})
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	ctx, cancel := context.WithCancel(s.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := s.end(w.Alice).ledger.Submit(ctx, w.Prepare(p))
		answer <- err
	}()
	s.becomes(w.Bob, w.ID(p), ledger.Prepared)
	s.submit(w.Bob, w.Confirm(w.Bob, p), ledger.Confirmed)
	s.until(p.Subject.Fields.Expiry + 1)
	if r, err := s.end(w.Alice).ledger.Lookup(s.Context(), w.ID(p)); !errors.Is(err, payment.ErrNotNow) {
		t.Errorf("the payer says %s at %d, %v", r.Custody.State, r.TimeMS, err)
	}
	s.muted(nil)
	s.setFault(nil)
	s.advance(time.Second)
	s.becomes(w.Alice, w.ID(p), ledger.Confirmed)
	cancel()
	if err := <-answer; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Where the banks agree to it, a preimage goes to the payer off chain, and the lock is settled without a reveal
// (H1, H3).
func TestSecretOffChain(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	s.stop()
	s.lanes.OffChain = 1000
	s.start(w.Alice)
	s.start(w.Bob)
	s.seen(0)
	s.muted(func(a channels.Action) bool { _, is := a.(channels.Reveal); return is })
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	r := s.submit(w.Bob, w.Confirm(w.Bob, p), ledger.Confirmed)
	f, err := s.verifier().Verify(r.Evidence)
	if _, settled := f.Proved.(channels.Settle); err != nil || !settled {
		t.Errorf("%+v, %v", f, err)
	}
	s.becomes(w.Alice, w.ID(p), ledger.Confirmed)
}

// A lock without its payer's Prepare is nobody's custody at its payee's end, and lapses.
func TestStrayLock(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	prepare := w.Prepare(p)
	locks := s.end(w.Alice).connect.Tellers.Locks()
	if err := locks.File(s.Context(), prepare); err != nil {
		t.Fatal(err)
	}
	locks.Make(prepare.Command.(*ledger.Prepare))
	s.becomes(w.Alice, w.ID(p), ledger.Prepared)
	if n, err := s.end(w.Bob).connect.Tellers.Locks().Count(s.Context()); err != nil || n != 0 {
		t.Errorf("%d events, %v", n, err)
	}
	_, err := s.end(w.Bob).ledger.Submit(s.Context(), w.Confirm(w.Bob, p))
	if cypherlink.ErrorCode(err) != ledger.CodeUnknownCustody {
		t.Error(err)
	}
	s.until(p.Subject.Fields.Expiry)
	s.becomes(w.Alice, w.ID(p), ledger.Returned)
	s.becomes(w.Bob, w.ID(p), ledger.Absent)
}

// A payee keeps the Prepare of nobody but the lane's payer, and by the rules of a ledger alone; one that comes
// again, or comes after the lock, is kept once.
func TestTake(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	prepare := w.Prepare(p)
	unapproved := w.Sign(w.Alice, &ledger.Prepare{Subject: p.Subject, Packet: p.Packet})
	reverse := s.world.Payment("reverse", 700, s.now().Unix()+20)
	reverse.Subject.Fields.Debit, reverse.Subject.Fields.Credit = w.Account(w.Bob), w.Account(w.Alice)
	elsewhere := s.world.Payment("elsewhere", 700, s.now().Unix()+20)
	elsewhere.Subject.Fields.Credit = w.Account(w.Mallory)
	forged := w.Prepare(p)
	ledgertest.Resign(w.Mallory, forged)
	for name, tt := range map[string]struct {
		from ledgertest.Actor
		body []byte
		code cypherlink.Code
	}{
		"of another sender":      {w.Mallory, prepare.Encode(), ledger.CodeNotAllowed},
		"under another's name":   {w.Alice, forged.Encode(), ledger.CodeSignature},
		"without verdicts":       {w.Alice, unapproved.Encode(), ledger.CodeNotApproved},
		"out of the payee's":     {w.Alice, w.Sign(w.Alice, &ledger.Prepare{Subject: reverse.Subject}).Encode(), ledger.CodeNotAllowed},
		"for another payee":      {w.Alice, w.Prepare(elsewhere).Encode(), ledger.CodeUnknownAccount},
		"of another command":     {w.Alice, w.Confirm(w.Alice, p).Encode(), ledger.CodeNotAllowed},
		"of no command":          {w.Alice, []byte{1}, ledger.CodeMalformed},
		"for a custody of chain": {w.Alice, onChain(w, p).Encode(), ledger.CodeUnknownAccount},
	} {
		if err := s.end(w.Bob).ledger.Take(s.Context(), tt.from.ID, tt.body); cypherlink.ErrorCode(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 {
		if err := s.end(w.Bob).ledger.Take(s.Context(), w.Alice.ID, prepare.Encode()); err != nil {
			t.Error(err)
		}
	}
	other := p
	other.Packet = []byte("another")
	err := s.end(w.Bob).ledger.Take(s.Context(), w.Alice.ID, w.Prepare(other).Encode())
	if cypherlink.ErrorCode(err) != ledger.CodeCustodyDiffers {
		t.Error(err)
	}
	s.submit(w.Alice, prepare, ledger.Prepared)
	if err := s.end(w.Bob).ledger.Take(s.Context(), w.Alice.ID, prepare.Encode()); err != nil {
		t.Error(err)
	}
	two := s.world.Payment("two", 1, s.now().Unix()+20)
	_, err = s.end(w.Bob).ledger.Submit(s.Context(), w.Prepare(two))
	record, none := s.end(w.Bob).connect.Tellers.Locks().Find(s.Context(), channels.LockID(w.ID(two)))
	if cypherlink.ErrorCode(err) != ledger.CodeNotAllowed || none != nil || record.Prepare != nil {
		t.Errorf("prepared at the payee's end: %v, %+v, %v", err, record, none)
	}
	_, err = s.end(w.Alice).ledger.Submit(s.Context(), w.Return(w.Bob, p))
	if cypherlink.ErrorCode(err) != ledger.CodeNotAllowed {
		t.Errorf("returned at the payer's end: %v", err)
	}
}

// onChain is a Prepare of accounts on the chain.
func onChain(w *ledgertest.World, p ledgertest.Payment) *ledger.SignedCommand {
	p.Subject.Fields.Debit.Number, p.Subject.Fields.Credit.Number = 0, 0
	return w.Prepare(p)
}

// What evidence proves: the Lock, and the Settle or the Unlock that ended it, under the signatures of both banks
// and the Validators; and no byte of it can be changed.
func TestEvidence(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	p, q := s.world.Payment("one", 700, s.now().Unix()+20), s.world.Payment("two", 300, s.now().Unix()+20)
	lock := func(p ledgertest.Payment) channels.Lock {
		lock, _ := payment.LockOf(w.Network, &p.Subject)
		return lock
	}
	prepared := s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	s.submit(w.Alice, w.Prepare(q), ledger.Prepared)
	settled := s.submit(w.Alice, w.Confirm(w.Mallory, p), ledger.Confirmed) // the payer knows it: no reveal
	unlocked := s.submit(w.Bob, w.Return(w.Bob, q), ledger.Returned)
	absent, err := s.end(w.Alice).ledger.Lookup(s.Context(), ledger.CustodyID{1})
	if err != nil {
		t.Fatal(err)
	}
	v := s.verifier()
	for name, tt := range map[string]struct {
		receipt ledger.Receipt
		bank    ledgertest.Actor
		proved  channels.Operation
	}{
		"prepared":  {prepared, w.Alice, lock(p)},
		"confirmed": {settled, w.Alice, channels.Settle{Lock: lock(p).ID, Preimage: p.Preimage}},
		"returned":  {unlocked, w.Bob, channels.Unlock{Lock: lock(q).ID}},
		"absent":    {absent, w.Alice, nil},
	} {
		f, err := v.Verify(tt.receipt.Evidence)
		if err != nil || f.Bank != tt.bank.ID || f.Proved != tt.proved {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
		for i := range tt.receipt.Evidence {
			changed := bytes.Clone(tt.receipt.Evidence)
			changed[i] ^= 1 << (i % 8)
			if _, err := v.Verify(changed); err == nil {
				t.Errorf("%s: it holds with another byte %d of %d", name, i, len(changed))
			}
		}
	}
	// the word of one bank is not the other's, and a witness takes that of the bank that it asks
	witness := &laneledger.Witness{
		Network: w.Network, Ledger: w.Ledger, Bank: w.Alice.ID, Peers: link{s, w.Mallory.ID}, Roll: s.chain.Registry,
	}
	if r, err := witness.Lookup(s.Context(), w.ID(p)); err != nil || r.Custody.State != ledger.Confirmed {
		t.Errorf("%+v, %v", r, err)
	}
	witness.Peers = swapped{link{s, w.Mallory.ID}, w.Bob.ID}
	if _, err := witness.Lookup(s.Context(), w.ID(p)); !errors.Is(err, payment.ErrLaneEvidence) {
		t.Error(err)
	}
	witness.Bank = w.Bob.ID
	if r, err := witness.Lookup(s.Context(), w.ID(q)); err != nil || r.Custody.State != ledger.Returned {
		t.Errorf("%+v, %v", r, err)
	}
	witness.Peers = answering(absentAt(t, s, w.Bob))
	if _, err := witness.Lookup(s.Context(), w.ID(p)); !errors.Is(err, payment.ErrLaneEvidence) {
		t.Error("it takes another custody's receipt: ", err)
	}
	if _, err := witness.Submit(s.Context(), w.Prepare(p)); cypherlink.ErrorCode(err) != ledger.CodeNotAllowed {
		t.Error(err)
	}
	if _, err := s.end(w.Alice).ledger.Show(s.Context(), []byte{1}); cypherlink.ErrorCode(err) != ledger.CodeMalformed {
		t.Error(err)
	}
}

// swapped is a network on which another bank answers.
type swapped struct {
	link
	instead cypherlink.ParticipantID
}

func (s swapped) Call(ctx context.Context, _ cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
	return s.link.Call(ctx, s.instead, kind, body)
}

// answering is a network on which everybody answers the same.
type answering []byte

func (a answering) Call(context.Context, cypherlink.ParticipantID, uint8, []byte) ([]byte, error) {
	return a, nil
}

func absentAt(t *testing.T, s *strait, of ledgertest.Actor) []byte {
	t.Helper()
	r, err := s.end(of).ledger.Lookup(t.Context(), ledger.CustodyID{9})
	if err != nil {
		t.Fatal(err)
	}
	return r.Evidence
}

func FuzzEvidence(f *testing.F) {
	w := ledgertest.NewWorld()
	s := newStrait(f, w)
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	v := s.verifier()
	f.Add([]byte{})
	f.Add(s.submit(w.Alice, w.Prepare(p), ledger.Prepared).Evidence)
	f.Add(s.submit(w.Alice, w.Confirm(w.Alice, p), ledger.Confirmed).Evidence)
	absent, err := s.end(w.Bob).ledger.Lookup(s.Context(), ledger.CustodyID{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(absent.Evidence)
	f.Fuzz(func(t *testing.T, raw []byte) {
		found, err := v.Verify(raw)
		if err == nil && !bytes.Equal(found.Receipt.Evidence, raw) {
			t.Error("another evidence")
		}
		if err != nil && !errors.Is(err, payment.ErrLaneEvidence) {
			t.Error(err)
		}
	})
}

func TestOptions(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	good := laneledger.Options{
		Genesis: s.Genesis, Locks: s.end(w.Alice).connect.Tellers.Locks(), Identity: player{w.Alice}, Resend: time.Second,
	}
	for name, edit := range map[string]func(*laneledger.Options){
		"no genesis": func(o *laneledger.Options) { o.Genesis = nil }, "no locks": func(o *laneledger.Options) { o.Locks = nil },
		"no identity": func(o *laneledger.Options) { o.Identity = nil }, "no resend": func(o *laneledger.Options) { o.Resend = 0 },
		"another identity": func(o *laneledger.Options) { o.Identity = player{w.Bob} },
	} {
		o := good
		edit(&o)
		if _, err := laneledger.New(o); !errors.Is(err, laneledger.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A channel that was closed and paid out while its banks were away: what became of its locks is told all the same.
func TestClosedWhileAway(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	p, q := s.world.Payment("paid", 700, s.now().Unix()+20), s.world.Payment("lapsed", 300, s.now().Unix()+20)
	s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	s.submit(w.Alice, w.Prepare(q), ledger.Prepared)
	at := channels.A
	if s.Banks()[channels.A].ID != w.Alice.ID {
		at = channels.B
	}
	s.eventually("both locks are anchored", func() bool {
		v, err := s.chain.View(s.id, nil)
		return err == nil && v.Channel.Lanes[at].Head.Locked == 1000
	})
	s.stop()
	var locks []channels.Lock
	for _, p := range []ledgertest.Payment{p, q} {
		lock, _ := payment.LockOf(w.Network, &p.Subject)
		locks = append(locks, lock)
	}
	sequence := uint64(1 << 62) // above what Bob has signed
	hand := func(a channels.Action) {
		t.Helper()
		sequence++
		if err := s.chain.Block(state.ChannelAction{Signed: s.Act(w.Bob, sequence, a)}); err != nil {
			t.Fatal(err)
		}
	}
	hand(channels.Reveal{Preimage: p.Preimage})
	hand(channels.Close{Channel: s.id})
	for range 4 {
		s.advance(3 * time.Second)
	}
	hand(channels.Supply{Channel: s.id, Lane: at, Locks: locks})
	s.until(p.Subject.Fields.Expiry)
	if v, err := s.chain.View(s.id, nil); err != nil || v.Channel.State != channels.Closed {
		t.Fatalf("%s, %v", v.Channel.State, err)
	}
	for _, of := range []ledgertest.Actor{w.Alice, w.Bob} {
		s.start(of)
		s.becomes(of, w.ID(p), ledger.Confirmed)
		s.becomes(of, w.ID(q), ledger.Returned)
	}
}
