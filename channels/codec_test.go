package channels_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// samples are one of each kind.
func samples() (messages []channels.Message, events []channels.Event, actions []channels.Action, joints []channels.Joint) {
	lock := channels.Lock{ID: channels.LockID{1}, Amount: 5, Condition: cypherlink.Condition{2}, Expiry: 9}
	ops := []channels.Operation{
		channels.Pay{Payment: cypherlink.UETR{6: 0x40, 8: 0x80}, Amount: 3, Terms: cypherlink.Hash{7}},
		lock,
		channels.Settle{Lock: channels.LockID{1}, Preimage: cypherlink.Preimage{8}},
		channels.Unlock{Lock: channels.LockID{4}},
	}
	u := channels.Update{Channel: channels.ID{1}, Lane: channels.B, Gen: 1, Dep: 4, Body: channels.BodyRoot(ops)}
	u.Seq, u.Paid, u.Locked = 3, 10, 5
	var w wire.Writer
	u.AppendWire(&w)
	u = channels.ReadUpdate(wire.NewReader(w.Bytes()))
	entry := channels.Entry{Update: u, Operations: ops, Endorsements: []channels.Endorsement{{Signature: [64]byte{1}}}}
	signed := channels.Signed{Update: u, Signature: [64]byte{2}}
	for _, do := range []channels.JointAction{
		channels.Record{},
		channels.Release{By: channels.B, Amount: 2, Number: 1},
		channels.Cut{Lane: channels.B, Gen: 2},
		channels.Settlement{},
		channels.Open{
			Asset: cypherlink.Asset{Ledger: "chain", Code: "EUR", Scale: 2}, Limits: channels.DefaultLimits(),
		},
	} {
		joints = append(joints, channels.Joint{
			Channel: u.Channel, Proposer: channels.B, Counter: 7, Do: do, ValidUntil: 99,
			Points: [2]channels.Point{{}, u.Point()},
		})
	}
	messages = []channels.Message{
		channels.Offer{Entry: entry},
		channels.Countersignature{Slot: u.Slot(), Hash: u.Hash},
		channels.Refusal{Slot: u.Slot(), Rule: channels.L4, Text: "no"},
		channels.Resync{
			Gens: [2]uint32{1, 2}, Written: u.Head, Certified: &signed, Locks: [2][]channels.Lock{{}, {lock}}, Session: 3,
		},
		channels.Proposal{Joint: joints[0]},
		channels.Consent{Joint: joints[1]},
		channels.Secret{Lock: lock.ID},
		channels.Failure{Lock: lock.ID},
	}
	events = []channels.Event{
		channels.Wrote{Entry: entry},
		channels.Countersigned{Entry: entry},
		channels.Certified{Seq: 3},
		channels.Bound{Lane: channels.B, Seq: 3},
		channels.Anchored{Lane: channels.B, Head: u.Head},
		channels.Ended{Lane: channels.A, Gen: 2, Head: u.Head},
		channels.Joined{Joint: joints[2]},
		channels.Barred{Gens: [2]uint32{1, 2}},
		channels.Stopped{Evidence: channels.Evidence{One: signed, Other: signed}},
		channels.Listed{Lane: channels.B, Locks: []channels.Lock{lock}},
		channels.Learned{},
		channels.Released{},
		channels.Failed{},
		channels.Gone{},
	}
	certificate := &channels.Certificate{Update: u, Endorsements: entry.Endorsements}
	actions = []channels.Action{
		channels.Fund{Channel: u.Channel, Amount: 4, Number: 1},
		channels.Anchor{Channel: u.Channel, Heads: [2]*channels.Certificate{nil, certificate}},
		channels.Dispute{Channel: u.Channel, Lane: channels.B, Slot: u.Slot()},
		channels.Close{Channel: u.Channel},
		channels.Supply{Channel: u.Channel, Lane: channels.B, Locks: []channels.Lock{lock}},
		channels.Reveal{},
	}
	return messages, events, actions, joints
}

// oneForm checks that what is accepted has one form, and that anything else is ErrForm.
func oneForm[T any](t *testing.T, b []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	t.Helper()
	v, err := decode(b)
	switch {
	case err != nil && !errors.Is(err, channels.ErrForm):
		t.Fatal(err)
	case err == nil && !bytes.Equal(encode(v), b):
		t.Fatalf("%x encodes as %x", b, encode(v))
	}
}

func FuzzMessage(f *testing.F) {
	messages, _, _, _ := samples()
	for _, m := range messages {
		raw := channels.EncodeMessage(m)
		if _, err := channels.DecodeMessage(raw); err != nil {
			f.Fatalf("%T: %v", m, err)
		}
		f.Add(raw)
	}
	f.Add([]byte{99})
	f.Fuzz(func(t *testing.T, b []byte) { oneForm(t, b, channels.DecodeMessage, channels.EncodeMessage) })
}

func FuzzEvent(f *testing.F) {
	_, events, _, _ := samples()
	for _, e := range events {
		raw := channels.EncodeEvent(e)
		if _, err := channels.DecodeEvent(raw); err != nil {
			f.Fatalf("%T: %v", e, err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) { oneForm(t, b, channels.DecodeEvent, channels.EncodeEvent) })
}

func FuzzAction(f *testing.F) {
	_, _, actions, _ := samples()
	for _, a := range actions {
		raw := (&channels.SignedAction{Sequence: 3, Action: a}).Encode()
		if _, err := channels.DecodeAction(raw); err != nil {
			f.Fatalf("%T: %v", a, err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		oneForm(t, b, channels.DecodeAction, func(a *channels.SignedAction) []byte { return a.Encode() })
	})
}

func FuzzJoint(f *testing.F) {
	_, _, _, joints := samples()
	encode := func(j channels.Joint) []byte {
		var w wire.Writer
		j.AppendWire(&w)
		return w.Bytes()
	}
	decode := func(b []byte) (channels.Joint, error) {
		r := wire.NewReader(b)
		j := channels.ReadJoint(r)
		if err := r.End(); err != nil {
			return j, errors.Join(channels.ErrForm, err)
		}
		return j, nil
	}
	for _, j := range joints {
		if _, err := decode(encode(j)); err != nil {
			f.Fatalf("%T: %v", j.Do, err)
		}
		f.Add(encode(j))
	}
	f.Fuzz(func(t *testing.T, b []byte) { oneForm(t, b, decode, encode) })
}

func FuzzChannel(f *testing.F) {
	c := channels.Channel{
		ID: channels.ID{1}, Asset: cypherlink.Asset{Ledger: "chain", Code: "EUR", Scale: 2},
		Limits: channels.DefaultLimits(), State: channels.Opened,
	}
	f.Add(c.Encode())
	c.Lanes[1].Signers.Validators = []channels.ValidatorKey{{}}
	c.Lanes[0].Listed = []channels.Lock{{Amount: 1}}
	f.Add(c.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		oneForm(t, b, channels.DecodeChannel, func(c *channels.Channel) []byte { return c.Encode() })
	})
}
