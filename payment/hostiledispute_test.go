package payment

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
)

// tries submits an action to the chain as bank A, and gives what it is refused with.
func (at *attacked) tries(sequence uint64, a channels.Action) error {
	at.tb.Helper()
	s := &channels.SignedAction{Network: at.genesis.Network(), Signer: at.a.id(), Sequence: sequence, Action: a}
	var err error
	if s.Signature, err = at.a.identity.SignRecorded(s.Frame()); err != nil {
		at.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(at.tb.Context(), time.Second)
	defer cancel()
	return at.chain.HandIn(ctx, state.ChannelAction{Signed: s}, func() (bool, error) { return false, nil })
}

// B10: challenges of the other bank's lane again and again, at any sequence, also in the last block. None is
// added to the first and none puts it off: the generation ends once, in its time, and payments go on.
func TestB10ChallengesAgainAndAgain(t *testing.T) {
	attack(t, lanes(), func(t *testing.T, at *attacked) {
		own := at.bank.Tellers.teller(at.id).own
		begun := time.Now()
		limit := time.Duration(at.lanes.Limits.WindowS+int64(at.lanes.Limits.Blocks)+3) * time.Second
		refused, sequence := 0, uint64(1<<62)
		for gen := uint32(0); gen == 0; {
			for _, seq := range []uint32{math.MaxUint32, 7, 1} {
				sequence++
				err := at.tries(sequence, channels.Dispute{Channel: at.id, Lane: own, Slot: channels.Slot{Seq: seq}})
				switch {
				case cypherlink.ErrorCode(err) == channels.T3.Code() || errors.Is(err, ledger.ErrRepeated):
					refused++
				case !errors.Is(err, context.DeadlineExceeded):
					t.Fatal(err)
				}
			}
			v, err := at.chain.View(at.id, nil)
			if err != nil {
				t.Fatal(err)
			}
			if gen = v.Channel.Lanes[own].Gen; time.Since(begun) > limit {
				t.Fatalf("it does not end in %v", time.Since(begun))
			}
		}
		if refused < 4 {
			t.Errorf("%d challenges are refused", refused)
		}
		at.recovers(0, 0)
		v, err := at.chain.View(at.id, nil)
		if err != nil || v.Channel.Lanes[own].Gen != 1 {
			t.Errorf("generation %d, %v", v.Channel.Lanes[own].Gen, err)
		}
	})
}

// B17: the bank that is paid refuses an update and signs it too, in either order. Its refusal is worth nothing,
// its signature binds, and the operator is told of the refusal.
func TestB17SignsAndRefuses(t *testing.T) {
	for name, first := range map[string]bool{"refuses first": true, "signs first": false} {
		t.Run(name, func(t *testing.T) {
			attack(t, lanes(), func(t *testing.T, at *attacked) {
				a := at.startBank(at.a)
				at.synced(a, at.bank)
				at.setFault(func(c call) ([]byte, error) {
					if c.kind == KindLane {
						return nil, errDown
					}
					return c.serve()
				})
				uetr := at.pays(at.bank, 1, at.b, at.a, "50.00")
				at.until(at.bank, uetr, StatusSigned1)
				at.stop(at.a)
				u := at.written(at.b, 1).Update
				sign := channels.Countersignature{Slot: u.Slot(), Hash: u.Hash}
				sign.Payee, _ = at.a.identity.SignRecorded(u.Frame(at.genesis.Network()))
				no := channels.Refusal{Slot: u.Slot(), Hash: u.Hash, Rule: channels.L4, Text: "not wanted"}
				all := []channels.Message{sign, no}
				if first {
					all = []channels.Message{no, sign}
				}
				for _, m := range all {
					if err := at.speaks(at.a, at.bank, at.id, m); err != nil {
						t.Fatal(err)
					}
					time.Sleep(100 * time.Millisecond)
				}
				at.until(at.bank, uetr, StatusSigned2, StatusSettled, StatusPosted)
				if !at.book.says("refuses an update", "L4", "not wanted", "peer="+at.a.id().String()) {
					t.Error("the operator is not told of the refusal")
				}
				at.until(at.bank, uetr, StatusPosted) // A's own customer is A's to credit
				v, err := at.chain.View(at.id, nil)
				own := at.bank.Tellers.teller(at.id).own
				if err != nil || v.Channel.Lanes[own].Head.Paid != 50_00 || v.Channel.Lanes[own].Gen != 0 {
					t.Errorf("%+v, %v", v.Channel.Lanes[own], err)
				}
				if got := at.books[at.b.id()].balance; got != -50_00 {
					t.Errorf("the books of B moved by %d", got)
				}
			})
		})
	}
}
