package payment

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// diary is a logbook whose lines are read one by one.
type diary struct{ logbook }

func (d *diary) log() *slog.Logger { return slog.New(slog.NewJSONHandler(d, nil)) }

// line is what is read of a line.
type line struct {
	Msg, Peer, Rule string
	LeftOut         int `json:"left_out"`
}

// of are the lines with that message.
func (d *diary) of(tb testing.TB, msg string) (all []line) {
	tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for raw := range bytes.Lines(d.b.Bytes()) {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			tb.Fatal(err)
		}
		if l.Msg == msg {
			all = append(all, l)
		}
	}
	return all
}

// Of each peer and rule the first is logged, and then one in a minute with how many were left out.
func TestComplaintsArePaced(t *testing.T) {
	var d diary
	var c Complaints
	one, other := cypherlink.ParticipantID{1}, cypherlink.ParticipantID{2}
	for s, log := 0, d.log(); s <= 150; s++ {
		at := time.Unix(int64(s), 0)
		c.About(at, log, one, "L4").Warn("wrong")
		if s == 70 {
			c.About(at, log, one, "L9").Warn("wrong")
			c.About(at, log, other, "L4").Warn("wrong")
		}
	}
	want := []line{
		{"wrong", one.String(), "L4", 0},
		{"wrong", one.String(), "L4", 59},
		{"wrong", one.String(), "L9", 0},
		{"wrong", other.String(), "L4", 0},
		{"wrong", one.String(), "L4", 59},
	}
	if got := d.of(t, "wrong"); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// B1: a bank that says what is refused, without end, costs its peer's operator a line in a minute for each
// rule, which names bank and rule, and how often it was broken meanwhile.
func TestFloodOfRefusedMessages(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.stop(w.b)
		var d diary
		w.log = d.log()
		b = w.startBank(w.b)
		w.eventually("both talk", func() bool {
			ch, err := b.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Synced
		})
		const talks = 40
		flood := make([]channels.Message, 0, maxLaneMessages)
		for range maxLaneMessages / 2 {
			flood = append(flood, channels.Secret{}, channels.Refusal{Rule: "L4", Text: "as I please"})
		}
		unsigned := channels.Offer{Entry: w.writes(w.a, id, channels.Pay{Payment: cypherlink.UETR{6: 0x40, 8: 0x80}, Amount: 1})}
		unsigned.Entry.Endorsements = nil
		speak := func(all ...channels.Message) {
			t.Helper()
			if err := w.speaks(w.a, b, id, append(all, unsigned)...); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Serve(t.Context(), w.a.id(), KindLane, []byte{1}); cypherlink.ErrorCode(err) != CodeMessage {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		for range talks {
			speak(flood[:maxLaneMessages-2]...)
		}
		time.Sleep(complainEvery)
		speak(flood[:2]...)
		time.Sleep(time.Second)
		for msg, want := range map[string]struct {
			rule    string
			leftOut int
		}{
			"a message of the other bank is refused": {string(channels.H1.Code()), talks*(maxLaneMessages-2)/2 - 1},
			"the other bank refuses an update":       {"refusal", talks*(maxLaneMessages-2)/2 - 1},
			"an update of the other bank is refused": {string(channels.L4.Code()), talks - 1},
		} {
			want := []line{
				{msg, w.a.id().String(), want.rule, 0}, {msg, w.a.id().String(), want.rule, want.leftOut},
			}
			if got := d.of(t, msg); !slices.Equal(got, want) {
				t.Errorf("%+v", got)
			}
		}
	})
}

// A bank that is not there, or that takes nothing, costs a line in a minute too.
func TestSilentBankIsToldOnce(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, _, b *Connect) {
		id := w.opened(w.processes[w.a.id()].connect, b)
		w.stop(w.a)
		w.stop(w.b)
		var d diary
		w.log = d.log()
		a := w.startBank(w.a)
		time.Sleep(complainEvery / 2)
		msg := "the other bank is not reached"
		if got, want := d.of(t, msg), []line{{msg, w.b.id().String(), "unreached", 0}}; !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		v, err := a.Tellers.Chain.View(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		idle, err := a.Tellers.newTeller(t.Context(), &v) // nobody runs it: nothing leaves
		if err != nil {
			t.Fatal(err)
		}
		for range 2 * cap(idle.outbound) {
			idle.say([]channels.Message{channels.Refusal{}})
		}
		msg = "the other bank takes nothing; messages are lost"
		if got, want := d.of(t, msg), []line{{msg, w.b.id().String(), "deaf", 0}}; !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// A Validator whose signature on a joint action, or on an update, is none is named to the operator; what it
// holds up goes on once it signs.
func TestWrongSharesAreNamed(t *testing.T) {
	for kind, msg := range map[uint8]string{
		KindJoin: "a participant signs a joint action wrongly", KindEndorse: "a Validator signs an update wrongly",
	} {
		playChannel(t, func(t *testing.T, w *channelWorld, _, b *Connect) {
			w.stop(w.a)
			var d diary
			w.log = d.log()
			a := w.startBank(w.a)
			var lies atomic.Int32
			bad := w.validators[1]
			w.setFault(func(c call) ([]byte, error) {
				if c.kind == kind && c.to != bad.id() { // one after the other, and the bad one first
					at := slices.IndexFunc(w.validators, func(v *player) bool { return v.id() == c.to })
					time.Sleep(time.Duration(at) * 50 * time.Millisecond)
				}
				raw, err := c.serve()
				if c.kind == kind && c.to == bad.id() && err == nil && lies.Add(1) <= 3 {
					raw = make([]byte, len(raw))
				}
				return raw, err
			})
			w.opened(a, b)
			w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted, StatusRejected)
			w.until(a, w.pays(a, 2, w.a, w.b, "10.00"), StatusCompleted, StatusRejected)
			if got, want := d.of(t, msg), []line{{msg, bad.id().String(), "signature", 0}}; !slices.Equal(got, want) {
				t.Errorf("%+v, want %+v", got, want)
			}
			w.stop(w.a)
			again := a.Tellers.complaints.about[complaint{bad.id(), "signature"}].leftOut
			if kind == KindJoin && int(lies.Load()) != again+1 {
				t.Errorf("%d wrong shares are blamed %d times", lies.Load(), again+1)
			}
		})
	}
}
