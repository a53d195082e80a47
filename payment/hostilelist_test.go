package payment

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
)

// The attacks of lists B and H that take a bank which signs what it likes, with Validators who endorse
// whatever they are asked, against another bank's running process.

// logbook is what an operator reads.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is io.Writer's.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// says tells whether a line has all of it.
func (l *logbook) says(all ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		has := true
		for _, s := range all {
			has = has && strings.Contains(line, s)
		}
		if has {
			return true
		}
	}
	return false
}

// attacked is a channel of which bank A has been taken over: its Connect has stopped, and its keys sign what
// the test writes. Bank B runs, and its log is kept.
type attacked struct {
	*channelWorld
	id    channels.ID
	bank  *Connect // B's
	book  *logbook
	last  channels.Update // of A's lane
	locks []channels.Lock // that are open in it
}

// attack runs a test against bank B.
func attack(t *testing.T, l Lanes, test func(t *testing.T, at *attacked)) {
	t.Helper()
	playLanes(t, l, func(t *testing.T, w *channelWorld, a, b *Connect) {
		at := &attacked{channelWorld: w, id: w.opened(a, b), book: &logbook{}}
		w.stop(w.a)
		w.stop(w.b)
		w.log = slog.New(slog.NewTextHandler(at.book, nil))
		a, at.bank = w.startBank(w.a), w.startBank(w.b)
		at.synced(a, at.bank)
		w.stop(w.a)
		w.setFault(nil)
		side := at.bank.Tellers.teller(at.id).own.Other()
		at.last = channels.Update{Channel: at.id, Lane: side}
		at.last.Hash = cypherlink.Hash(at.id)
		test(t, at)
	})
}

// synced waits until the banks talk with each other.
func (at *attacked) synced(all ...*Connect) {
	at.tb.Helper()
	for _, c := range all {
		at.eventually("both talk", func() bool {
			ch, err := c.Tellers.Channel(at.tb.Context(), at.id)
			return err == nil && ch.Synced
		})
	}
}

// log is what a bank has made durable of the channel.
func (at *attacked) log(of *player) (all []channels.Event) {
	at.tb.Helper()
	at.mu.Lock()
	c := at.processes[of.id()].connect
	at.mu.Unlock()
	err := c.Store.View(at.tb.Context(), func(r *store.Reader) error {
		stored, err := r.Load(channelStream(at.id), 0)
		for i := range stored {
			event, err := channels.DecodeEvent(stored[i].Body)
			if err != nil {
				return err
			}
			all = append(all, event)
		}
		return err
	})
	if err != nil {
		at.tb.Fatal(err)
	}
	return all
}

// written is the update that a bank has signed in its own lane.
func (at *attacked) written(by *player, seq uint32) (e channels.Entry) {
	for _, event := range at.log(by) {
		if wrote, ok := event.(channels.Wrote); ok && wrote.Entry.Update.Seq == seq {
			e = wrote.Entry
		}
	}
	return e
}

// certificate is that of an update of A's lane, as A has it.
func (at *attacked) certificate(seq uint32) *channels.Certificate {
	e := at.written(at.a, seq)
	c := &channels.Certificate{Update: e.Update, Endorsements: e.Endorsements}
	c.Payer, _ = at.a.identity.SignRecorded(e.Update.Frame(at.genesis.Network()))
	for _, event := range at.log(at.a) {
		if certified, ok := event.(channels.Certified); ok && certified.Seq == seq {
			c.Payee = certified.Payee
		}
	}
	return c
}

// writes is the next update of A's lane with all signatures but B's, whatever it does. It adds up as far as
// that is possible.
func (at *attacked) writes(dep cypherlink.Amount, ops ...channels.Operation) channels.Entry {
	at.tb.Helper()
	u := at.last
	u.Prev, u.Dep, u.Body = at.last.Hash, dep, channels.BodyRoot(ops)
	u.Seq++
	for _, op := range ops {
		switch op := op.(type) {
		case channels.Pay:
			u.Paid += op.Amount
		case channels.Lock:
			u.Locked += op.Amount
			at.locks = append(at.locks, op)
		case channels.Settle, channels.Unlock: // nobody here does
		}
	}
	u.Locks = channels.LockRoot(at.locks)
	e := channels.Entry{Update: chaintest.Sealed(u), Operations: ops}
	e.Update.Paid, e.Update.Locked = u.Paid, u.Locked // also where they cannot be read
	at.last = e.Update
	at.signs(at.a, &e)
	return e
}

// offers says it to B.
func (at *attacked) offers(e channels.Entry) error {
	err := at.speaks(at.a, at.bank, at.id, channels.Offer{Entry: e})
	synctest.Wait()
	return err
}

// signed wants B to have signed A's lane so far.
func (at *attacked) signed(seq uint32) {
	at.tb.Helper()
	shown := at.bank.Tellers.teller(at.id).shown.Load()
	if got := shown.Lanes[shown.Own.Other()].Certified; got != seq {
		at.tb.Errorf("bank B has signed up to %d, want %d", got, seq)
	}
}

// told wants B's operator to read of a refusal of A's, by that rule.
func (at *attacked) told(rule channels.Rule, says string) {
	at.tb.Helper()
	if !at.book.says("is refused", string(rule)+": ", says, "peer="+at.a.id().String()) {
		at.tb.Errorf("the operator is not told of %s, %q, in:\n%s", rule, says, at.book.b.String())
	}
}

// recovers starts A as it was before, and wants payments to go both ways, and all money to be where it
// belongs: A has lost so much that nobody asked for, and B has paid so much before.
func (at *attacked) recovers(lost, paid cypherlink.Amount) {
	at.tb.Helper()
	a := at.startBank(at.a)
	at.synced(a)
	at.until(a, at.pays(a, 1001, at.a, at.b, "10.00"), StatusCompleted)
	at.until(at.bank, at.pays(at.bank, 1002, at.b, at.a, "3.00"), StatusCompleted)
	at.eventually("both books have it", func() bool {
		return at.books[at.a.id()].balance == paid-7_00 && at.books[at.b.id()].balance == 7_00-paid
	})
	at.eventually("the channel has what belongs to each", func() bool {
		v, err := at.chain.View(at.id, nil)
		if err != nil {
			at.tb.Fatal(err)
		}
		c := &v.Channel
		own, _ := c.Side(at.a.id())
		return c.Total() == 2*funds && c.Balance(own) == funds+int64(paid-7_00-lost) &&
			c.Balance(own.Other()) == funds-int64(paid-7_00-lost)
	})
}

func somePay(n int, amount cypherlink.Amount) channels.Pay {
	return channels.Pay{Payment: cypherlink.UETR{0: byte(n), 1: byte(n >> 8), 6: 0x40, 8: 0x80}, Amount: amount}
}

// B6: a window of payments, each of which the channel covers and not all of which it does: the bank signs as
// many as there is money for, and no more; what is past the window it does not keep.
func TestB6OverdraftByManyAtOnce(t *testing.T) {
	attack(t, lanes(), func(t *testing.T, at *attacked) {
		const each = funds / 10 * 4
		window := int(at.lanes.Limits.Uncertified)
		for i := range window + 3 {
			err := at.offers(at.writes(0, somePay(i, each)))
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		at.signed(2)
		at.told(channels.L2, "update 259 after 2")
		if !at.book.says("paid what was not agreed", "peer="+at.a.id().String()) {
			t.Error("the operator is not told of money for which nobody asked")
		}
		if got := at.books[at.b.id()].balance; got != 0 {
			t.Errorf("the creditors have %d", got)
		}
		at.recovers(2*each, 0)
	})
}

// B7: amounts that are nothing, less, or more than there can be, one by one and together beyond the range:
// each is refused, and the slot still takes a payment that is in order.
func TestB7AmountsOutOfRange(t *testing.T) {
	for name, amounts := range map[string][]cypherlink.Amount{
		"nothing":                  {0},
		"less than nothing":        {-1},
		"the least":                {math.MinInt64},
		"beyond the range":         {math.MaxInt64, 1},
		"beyond the range, so far": {math.MaxInt64, math.MaxInt64, 2 + 5_00},
		"back by what is less":     {10_00, -5_00},
	} {
		t.Run(name, func(t *testing.T) {
			attack(t, lanes(), func(t *testing.T, at *attacked) {
				var ops []channels.Operation
				for i, a := range amounts {
					ops = append(ops, somePay(i, a))
				}
				before := at.last
				err := at.offers(at.writes(0, ops...))
				at.signed(0)
				at.last = before
				if err == nil {
					at.told(channels.L4, "update {Gen:0 Seq:1}")
				} else if cypherlink.ErrorCode(err) != CodeMessage || !strings.Contains(err.Error(), "amount") {
					t.Error("who serves the call is not told why it is refused: ", err)
				}
				at.recovers(0, 0)
			})
		})
	}
}

// B3: a bank spends what it was paid in an update that the other bank does not hold for bound yet. It is not
// signed before, and is once it may.
func TestB3SpendsWhatIsNotBound(t *testing.T) {
	l := lanes()
	l.Anchor = 4 * time.Second // else the chain binds it
	attack(t, l, func(t *testing.T, at *attacked) {
		a := at.startBank(at.a)
		at.synced(a, at.bank)
		at.setFault(func(c call) ([]byte, error) {
			if c.kind == KindLane && c.from == at.a.id() {
				return nil, errDown
			}
			return c.serve()
		})
		uetr := at.pays(at.bank, 1, at.b, at.a, "50.00")
		at.until(at.bank, uetr, StatusSigned1)
		at.until(a, uetr, StatusSigned2)
		at.stop(at.a)
		at.setFault(nil)
		const all = funds + 20_00
		if err := at.offers(at.writes(50_00, somePay(1, all))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		at.signed(0)
		own := at.bank.Tellers.teller(at.id).own
		v, err := at.chain.View(at.id, nil)
		if err != nil || v.Channel.Lanes[own].Gen != 0 {
			t.Fatal("the generation ended before", err)
		}
		signed := at.written(at.b, 1).Update
		frame := signed.Frame(at.genesis.Network())
		c := channels.Countersignature{Slot: signed.Slot(), Hash: signed.Hash}
		c.Payee, _ = at.a.identity.SignRecorded(frame)
		if err := at.speaks(at.a, at.bank, at.id, c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		at.signed(1)
		at.recovers(all, 50_00)
	})
}

// B3: a bank closes the channel alone, with the oldest certificate that it has: what it has paid since is
// anchored by the other bank, and paid out to it.
func TestB3StaleHeadAtClose(t *testing.T) {
	l := lanes()
	l.Anchor = time.Hour // nothing is anchored but by who closes
	attack(t, l, func(t *testing.T, at *attacked) {
		a := at.startBank(at.a)
		at.synced(a, at.bank)
		var all []cypherlink.UETR
		for i, amount := range []string{"10.00", "20.00", "30.00"} {
			all = append(all, at.pays(a, i, at.a, at.b, amount))
			at.until(a, all[i], StatusSigned2)
		}
		side := at.bank.Tellers.teller(at.id).own.Other()
		stale := channels.Anchor{Channel: at.id}
		stale.Heads[side] = at.certificate(1)
		at.stop(at.a)
		at.act(at.a, stale)
		if v, err := at.chain.View(at.id, nil); err != nil || v.Channel.Lanes[side].Head.Seq != 1 {
			t.Fatal("the old head is not anchored", err)
		}
		at.act(at.a, channels.Close{Channel: at.id})
		at.eventually("the channel is closed", func() bool {
			v, err := at.chain.View(at.id, nil)
			return err == nil && v.Channel.State == channels.Closed
		})
		for _, uetr := range all {
			at.until(at.bank, uetr, StatusPosted) // A, who would be told, is not there
		}
		for who, want := range map[*player]cypherlink.Amount{at.a: -60_00, at.b: 60_00} {
			if got := at.account(who); got != openingAmount+want {
				t.Errorf("the account of %s has %d, want %d", who.Name, got, openingAmount+want)
			}
		}
		if !at.book.says("CLOSING", "peer="+at.a.id().String()) {
			t.Error("the operator is not told that the other bank closes the channel")
		}
	})
}

// H4: two locks under one hash, of which the second would be paid with the preimage of the first.
func TestH4SecondLockOfAHash(t *testing.T) {
	attack(t, lanes(), func(t *testing.T, at *attacked) {
		now := time.Now().Unix()
		lock := channels.Lock{
			ID: channels.LockID{1}, Amount: 10_00, Condition: cypherlink.Preimage{1}.Condition(), Expiry: now + 20,
		}
		if err := at.offers(at.writes(0, lock)); err != nil {
			t.Fatal(err)
		}
		at.signed(1)
		last, locks := at.last, at.locks
		for _, ops := range [][]channels.Operation{
			{channels.Lock{ID: channels.LockID{2}, Amount: 5_00, Condition: lock.Condition, Expiry: now + 20}},
			{channels.Lock{ID: lock.ID, Amount: 5_00, Condition: cypherlink.Preimage{2}.Condition(), Expiry: now + 20}},
		} {
			at.last, at.locks = last, locks
			if err := at.offers(at.writes(0, ops...)); err != nil {
				t.Fatal(err)
			}
			at.signed(1)
		}
		at.told(channels.L4, "stands, or its condition does")
		at.recovers(0, 0)
	})
}

// H7: as many small locks as a lane can have, held to their expiry: beyond the channel's limit none is signed,
// and the money of the other lane is not held up by them.
func TestH7LocksHeldToTheirExpiry(t *testing.T) {
	attack(t, lanes(), func(t *testing.T, at *attacked) {
		limit := int(at.lanes.Limits.Locks)
		expiry := time.Now().Unix() + 30
		lock := func(i int) channels.Lock {
			p := cypherlink.Preimage{0: byte(i), 1: 1}
			return channels.Lock{ID: channels.LockID(p), Amount: 1, Condition: p.Condition(), Expiry: expiry}
		}
		for i := range limit + 1 {
			if err := at.offers(at.writes(0, lock(i))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		at.signed(uint32(limit))
		at.told(channels.L4, "65 locks")
		if got := at.bank.Tellers.teller(at.id).shown.Load().Free; got != funds {
			t.Errorf("bank B can spend %d", got)
		}
		at.recovers(0, 0)
		if n := at.chain.Seen()["channels.Reveal"]; n != 0 {
			t.Errorf("%d reveals", n)
		}
	})
}
