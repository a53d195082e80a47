package payment

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

const lockExpiry = 100

func lockOf(n byte) (channels.Lock, cypherlink.Preimage) {
	preimage := cypherlink.Preimage{n}
	return channels.Lock{ID: channels.LockID{n}, Amount: 5, Condition: preimage.Condition(), Expiry: lockExpiry}, preimage
}

// The H rules as what is told of one lock, in the own lane and in the other one.
func TestWhatIsToldOfALock(t *testing.T) {
	lock, preimage := lockOf(1)
	settle, unlock := channels.Settle{Lock: lock.ID, Preimage: preimage}, channels.Unlock{Lock: lock.ID}
	at := func(s int64) *channels.View { return &channels.View{Now: channels.Time{S: s}} }
	revealed := func(now, s int64) *channels.View {
		v := at(now)
		v.Revealed = []channels.Revealed{{Preimage: cypherlink.Preimage{9}, S: 1}, {Preimage: preimage, S: s}}
		return v
	}
	closed := func(v *channels.View) *channels.View {
		v.Channel.State = channels.Closed
		return v
	}
	own, other := channels.A, channels.B
	const absent, prepared, confirmed, returned = ledger.Absent, ledger.Prepared, ledger.Confirmed, ledger.Returned
	for _, tt := range []struct {
		name string
		lane channels.Side
		held heldLock
		view *channels.View
		want ledger.State
	}{
		{"a lock that is not bound is none", own, heldLock{}, revealed(50, 40), absent},
		{"a bound lock is a custody", own, heldLock{bound: true}, at(50), prepared},
		{"so it is at its payee's", other, heldLock{bound: true}, at(99), prepared},
		{"a lock that is bound too late is none, at its payee's", other, heldLock{bound: true}, at(100), absent},
		{"but if it was revealed in time", other, heldLock{bound: true}, revealed(100, 99), confirmed},
		{"or if it is settled", other, heldLock{bound: true, end: settle}, at(100), confirmed},
		{"at its payer's the end of it is the Party's to say", own, heldLock{bound: true}, at(100), prepared},
		{"a lock that was given up before is none", own, heldLock{bound: true, gone: true}, at(100), absent},
		{"a settled lock is paid", own, heldLock{told: prepared, bound: true, end: settle}, at(50), confirmed},
		{"also late", own, heldLock{told: prepared, bound: true, end: settle}, at(150), confirmed},
		{"a timely reveal pays", own, heldLock{told: prepared, bound: true}, revealed(150, 99), confirmed},
		{"a late reveal does not", own, heldLock{told: prepared, bound: true}, revealed(150, 100), prepared},
		{"H5", own, heldLock{told: prepared, bound: true, gone: true}, at(100), returned},
		{"the payer's own unlock is not before it is bound", own, heldLock{told: prepared, bound: true}, at(100), prepared},
		{"a late reveal pays nobody", other, heldLock{told: prepared, bound: true}, revealed(150, 100), returned},
		{"the expiry ends it for its payee", other, heldLock{told: prepared, bound: true}, at(100), returned},
		{"not a second before", other, heldLock{told: prepared, bound: true}, at(99), prepared},
		{
			"not once the preimage has left off chain", other,
			heldLock{told: prepared, bound: true, released: true},
			at(150), prepared,
		},
		{"consent ends it", other, heldLock{told: prepared, bound: true, end: unlock}, at(50), returned},
		{"so does a cut", other, heldLock{told: prepared, bound: true, void: true}, at(50), returned},
		{"a closed channel has decided", own, heldLock{told: prepared, bound: true}, closed(at(50)), returned},
		{"for its payee too", other, heldLock{told: prepared, bound: true, released: true}, closed(at(150)), returned},
		{"by the reveal", own, heldLock{told: prepared, bound: true}, closed(revealed(150, 99)), confirmed},
		{"what is told stands", other, heldLock{told: confirmed, bound: true, void: true}, at(150), confirmed},
	} {
		b := newLockBook(own)
		h := tt.held
		h.Lock, h.lane = lock, tt.lane
		b.locks[lock.ID] = &h
		told, _ := b.news(tt.view)
		got := tt.held.told
		for _, e := range told {
			if got == absent && e.State != prepared || (e.State == confirmed) != (e.Preimage == preimage) {
				t.Errorf("%s: %+v after %s", tt.name, e, got)
			}
			got = e.State
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// lockLog makes logs of a channel as a Party makes them, as far as locks go.
type lockLog struct {
	*rapid.T
	own  channels.Side
	tips [2]channels.Update
	open [2][]channels.Lock
	base [2]channels.Update
	kept [2][]channels.Update
	made byte
}

// append writes an update of a lane and gives the event.
func (l *lockLog) append(lane channels.Side) channels.Event {
	u := l.tips[lane]
	u.Lane, u.Prev, u.Seq = lane, u.Hash, u.Seq+1
	var op channels.Operation
	if n := len(l.open[lane]); n > 0 && rapid.Bool().Draw(l.T, "ends a lock") {
		lock := l.open[lane][n-1]
		l.open[lane] = l.open[lane][:n-1]
		if op = channels.Operation(channels.Unlock{Lock: lock.ID}); rapid.Bool().Draw(l.T, "pays") {
			op = channels.Settle{Lock: lock.ID, Preimage: cypherlink.Preimage{lock.ID[0]}}
		}
	} else {
		l.made++
		lock, _ := lockOf(l.made)
		l.open[lane], op = append(l.open[lane], lock), lock
	}
	ops := []channels.Operation{op}
	u.Body = channels.BodyRoot(ops)
	u = chaintest.Sealed(u)
	l.tips[lane], l.kept[lane] = u, append(l.kept[lane], u)
	e := channels.Entry{Update: u, Operations: ops, Peer: [64]byte{1}}
	if lane == l.own {
		return channels.Wrote{Entry: e}
	}
	return channels.Countersigned{Entry: e}
}

// Whatever a channel's log and the chain are, of each lock is told that it is a custody, and then at most how it
// ended, once; and a book that is folded anew, with what was told, has nothing to add.
func TestLockBookTellsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &lockLog{T: t, own: channels.Side(rapid.IntRange(0, 1).Draw(t, "own"))}
		b, log := newLockBook(l.own), []channels.Event(nil)
		told := map[channels.LockID]ledger.State{}
		v := &channels.View{Now: channels.Time{S: 50}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			lane := channels.Side(rapid.IntRange(0, 1).Draw(t, "lane"))
			var e channels.Event
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0, 1, 2:
				e = l.append(lane)
			case 3:
				e = channels.Bound{Lane: lane, Seq: l.tips[lane].Seq}
			case 4:
				e = l.anchor(lane, false)
			case 5:
				e = l.anchor(lane, true)
			case 6:
				v.Now.S += int64(rapid.IntRange(0, 20).Draw(t, "seconds"))
			case 7:
				if l.made > 0 {
					_, preimage := lockOf(byte(rapid.IntRange(1, int(l.made)).Draw(t, "revealed")))
					v.Revealed = append(v.Revealed, channels.Revealed{Preimage: preimage, S: v.Now.S})
				}
			}
			if e != nil {
				log = append(log, e)
				b.fold(e)
			}
			events, _ := b.news(v)
			for _, e := range events {
				if before := told[e.Lock]; e.State != ledger.Prepared && before != ledger.Prepared ||
					e.State == ledger.Prepared && before != ledger.Absent {
					t.Fatalf("lock %s goes from %s to %s", e.Lock, before, e.State)
				}
				told[e.Lock] = e.State
			}
		}
		again := newLockBook(l.own)
		for _, e := range log {
			again.fold(e)
		}
		for id, h := range again.locks {
			if h.told = told[id]; h.told > ledger.Prepared || h.final() {
				delete(again.locks, id)
			}
		}
		if events, _ := again.news(v); len(events) > 0 {
			t.Fatalf("a book that is folded anew tells %+v", events)
		}
	})
}

// anchor anchors a lane at some update of it; ends: with it its generation ends.
func (l *lockLog) anchor(lane channels.Side, ends bool) channels.Event {
	all := append([]channels.Update{l.base[lane]}, l.kept[lane]...)
	at := rapid.IntRange(0, len(all)-1).Draw(l.T, "head")
	head := all[at]
	l.base[lane], l.kept[lane] = head, all[at+1:]
	if !ends {
		return channels.Anchored{Lane: lane, Head: head.Head}
	}
	l.tips[lane], l.kept[lane], l.open[lane] = head, nil, nil
	l.tips[lane].Gen++
	return channels.Ended{Lane: lane, Gen: l.tips[lane].Gen, Head: head.Head}
}

func lockProof() *LockProof {
	lock, _ := lockOf(1)
	other, _ := lockOf(2)
	ops := []channels.Operation{other, lock, channels.Unlock{Lock: other.ID}}
	u := chaintest.Sealed(channels.Update{Body: channels.BodyRoot(ops), Head: channels.Head{Seq: 1}})
	next := chaintest.Sealed(channels.Update{Prev: u.Hash, Body: cypherlink.Hash{3}, Head: channels.Head{Seq: 2}})
	tape := laneTape{certified: 2, entries: []channels.Entry{
		{Update: u, Operations: ops}, {
			Update: next, Peer: [64]byte{5}, Endorsements: []channels.Endorsement{{Validator: cypherlink.ParticipantID{6}}},
		},
	}}
	return tape.proof(0, lock, true)
}

func TestLockEventCodec(t *testing.T) {
	for _, e := range []LockEvent{
		{Lock: channels.LockID{1}, State: ledger.Prepared, TimeMS: 7, Proof: lockProof()},
		{Channel: channels.ID{2}, Lane: channels.B, State: ledger.Confirmed, Preimage: cypherlink.Preimage{3}},
	} {
		got, err := decodeLockEvent(e.encode())
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%+v, %v, want %+v", got, err, e)
		}
	}
	for name, bad := range map[string]LockEvent{
		"no state":      {},
		"another state": {State: 4},
		"another lane":  {State: ledger.Prepared, Lane: 2},
	} {
		if _, err := decodeLockEvent(bad.encode()); !errors.Is(err, ErrLock) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodePlace(encodePlace(0)); !errors.Is(err, ErrLock) {
		t.Error(err)
	}
}

func FuzzLockEvent(f *testing.F) {
	e := LockEvent{State: ledger.Prepared, Proof: lockProof()}
	f.Add(e.encode())
	f.Add((&LockEvent{State: ledger.Returned}).encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decodeLockEvent(raw)
		if err == nil && !bytes.Equal(e.encode(), raw) {
			t.Error("another form")
		}
		if err != nil && !errors.Is(err, ErrLock) {
			t.Error(err)
		}
	})
}

// A lock is the leg that was prepared, to the letter, in the lane of who pays it and in its asset, or nobody's
// custody (attack H9).
func TestLockIsWhatWasPrepared(t *testing.T) {
	n := newNetwork(t, nil)
	banks := channels.InOrder([2]cypherlink.ParticipantID{n.a.id(), n.b.id()})
	tell := &teller{tellers: &Tellers{TellersOptions: TellersOptions{Genesis: n.genesis}}, banks: banks, asset: assetDCEP()}
	subject := validator.Subject{
		Terms: cypherlink.Hash{1}, Condition: cypherlink.Preimage{1}.Condition(), Fields: terms.Leg{
			Asset: assetDCEP(), Amount: 700, Expiry: lockExpiry,
			Debit:  cypherlink.Account{Owner: banks[channels.A], Number: ledger.ChannelNumber},
			Credit: cypherlink.Account{Owner: banks[channels.B], Number: ledger.ChannelNumber},
		},
	}
	lock, ok := LockOf(n.genesis.Network(), &subject)
	if !ok || !tell.moves(&LockEvent{lock: lock}, &subject) {
		t.Fatal("what was prepared is not")
	}
	for what, spoil := range map[string]func(e *LockEvent, of *validator.Subject){
		"another amount":         func(e *LockEvent, _ *validator.Subject) { e.lock.Amount-- },
		"another expiry":         func(e *LockEvent, _ *validator.Subject) { e.lock.Expiry++ },
		"another condition":      func(e *LockEvent, _ *validator.Subject) { e.lock.Condition[0]++ },
		"the other bank's lane":  func(e *LockEvent, _ *validator.Subject) { e.Lane = channels.B },
		"another asset":          func(_ *LockEvent, of *validator.Subject) { of.Fields.Asset.Code = "HKD" },
		"another bank's money":   func(_ *LockEvent, of *validator.Subject) { of.Fields.Debit.Owner = n.mallory.id() },
		"to another bank":        func(_ *LockEvent, of *validator.Subject) { of.Fields.Credit.Owner = n.mallory.id() },
		"accounts on the chain":  func(_ *LockEvent, of *validator.Subject) { of.Fields.Debit.Number = 0 },
		"another leg's identity": func(e *LockEvent, _ *validator.Subject) { e.lock.ID[0]++ },
	} {
		e, of := LockEvent{lock: lock}, subject
		if spoil(&e, &of); tell.moves(&e, &of) {
			t.Errorf("%s: is taken for what was prepared", what)
		}
	}
}

// A proof is of one operation, and of updates of which each follows the other.
func TestLockProofHangsTogether(t *testing.T) {
	n := newNetwork(t, nil)
	good := func() *LockProof {
		p := lockProof()
		f := p.Last().Frame(n.genesis.Network())
		p.Payer, _ = n.a.identity.SignRecorded(f)
		p.Payee, _ = n.b.identity.SignRecorded(f)
		p.Endorsements = nil
		for _, v := range n.validators[1:3] {
			e := channels.Endorsement{Validator: v.id()}
			e.Signature, _ = v.identity.SignRecorded(f)
			p.Endorsements = append(p.Endorsements, e)
		}
		return p
	}
	signers := channels.Signers{Payer: n.a.Identity, Payee: n.b.Identity, Threshold: 2}
	for _, v := range n.validators[1:] {
		signers.Validators = append(signers.Validators, channels.ValidatorKey{ID: v.id(), Key: v.Identity})
	}
	if err := good().Verify(n.genesis.Network(), &signers); err != nil {
		t.Fatal(err)
	}
	another, _ := lockOf(3)
	for name, edit := range map[string]func(*LockProof){
		"another operation":     func(p *LockProof) { p.Operation = another },
		"no path":               func(p *LockProof) { p.Path = nil },
		"a gap":                 func(p *LockProof) { p.Updates[1].Prev[0]++ },
		"another channel":       func(p *LockProof) { p.Updates[1].Channel[0]++ },
		"another lane":          func(p *LockProof) { p.Updates[1].Lane++ },
		"another payer":         func(p *LockProof) { p.Payer[3]++ },
		"another payee":         func(p *LockProof) { p.Payee[3]++ },
		"a Validator too few":   func(p *LockProof) { p.Endorsements = p.Endorsements[:1] },
		"one Validator twice":   func(p *LockProof) { p.Endorsements[1] = p.Endorsements[0] },
		"a forged endorsement":  func(p *LockProof) { p.Endorsements[1].Signature[3]++ },
		"one that is not known": func(p *LockProof) { p.Endorsements[1].Validator[0]++ },
	} {
		p := good()
		edit(p)
		if err := p.Verify(n.genesis.Network(), &signers); !errors.Is(err, ErrLock) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, edit := range map[string]func(*LockProof, *wire.Writer){
		"no updates": func(p *LockProof, w *wire.Writer) {
			channels.AppendOperations(w, []channels.Operation{p.Operation})
			w.U32(0)
			w.U32(0)
			(&channels.Certificate{Update: p.Updates[0]}).AppendWire(w)
		},
		"a certificate of another update": func(p *LockProof, w *wire.Writer) {
			channels.AppendOperations(w, []channels.Operation{p.Operation})
			w.U32(0)
			w.U32(1)
			p.Updates[0].AppendWire(w)
			(&channels.Certificate{Update: p.Updates[1]}).AppendWire(w)
		},
	} {
		w := wire.NewWriter(1024)
		edit(good(), w)
		r := wire.NewReader(w.Bytes())
		if ReadLockProof(r); !errors.Is(r.End(), ErrLock) {
			t.Errorf("%s: %v", name, r.End())
		}
	}
}
