package payment

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
)

// TestAMessageHasOneAnswer: a pacs.008 that comes again gets the pacs.002 that it got, whatever
// has become of the payment; its key is its own.
func TestAMessageHasOneAnswer(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, _ *Connect) {
		raw := pacs008(t)
		send := func(raw []byte, key string) *Answer {
			t.Helper()
			answer, err := a.Submit(t.Context(), raw, XML, key)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		first := send(raw, "")
		if first.Replayed || !bytes.Contains(first.Report, []byte("<OrgnlMsgId>MSG-1<")) ||
			!bytes.Contains(first.Report, []byte("<TxSts>PDNG<")) {
			t.Errorf("replayed %v\n%s", first.Replayed, first.Report)
		}
		w.until(a, first.Payment.UETR, StatusSettled)
		same := func(name string, got, want *Answer) {
			t.Helper()
			if !got.Replayed || !bytes.Equal(got.Report, want.Report) ||
				!reflect.DeepEqual(got.Payment, want.Payment) {
				t.Errorf("%s: replayed %v, %+v\n%s", name, got.Replayed, got.Payment, got.Report)
			}
		}
		same("the same message", send(raw, "a key that is not looked at"), first)
		// another message that orders the same payment is told how that stands, once and for all
		renamed := bytes.Replace(raw, []byte("<MsgId>MSG-1<"), []byte("<MsgId>MSG-2<"), 1)
		second := send(renamed, "")
		if !bytes.Contains(second.Report, []byte("<TxSts>ACSC<")) || second.Payment.Status != StatusSettled {
			t.Errorf("another message of the payment: %+v\n%s", second.Payment, second.Report)
		}
		same("the other message", send(renamed, ""), second)
		other := bytes.Replace(raw, []byte("second line"), []byte("another line"), 1)
		if _, err := a.Submit(t.Context(), other, XML, ""); cypherlink.ErrorCode(err) != CodeKeyReused {
			t.Errorf("another body under the message id: %v", err)
		}
		w.moved(1)
	})
}

// TestEveryRefusalHasAReport: whatever another institution gives for a reason and a message, the
// payment that it ends has a pacs.002.
func TestEveryRefusalHasAReport(t *testing.T) {
	n := newNetwork(t, nil)
	instruction := n.instruction(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		refusal := &cypherlink.Error{
			Code:    cypherlink.Code(rapid.String().Draw(t, "code")),
			Reason:  rapid.OneOf(rapid.String(), rapid.StringMatching("[A-Z0-9]{4}")).Draw(t, "reason"),
			Pointer: rapid.String().Draw(t, "pointer"),
			Message: rapid.OneOf(rapid.String(), rapid.StringMatching("[ a]{0,300}")).Draw(t, "message"),
		}
		var log []Event
		for _, f := range []Fact{
			Instructed{Instruction: instruction, Format: JSON, Raw: []byte("{}"), Key: "json/k"},
			Ended{StatusRejected, refusal},
		} {
			e, err := DecodeEvent(EncodeEvent(Event{At: 1, Fact: f}), n.genesis)
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, e)
		}
		if _, err := report(n.bank(n.a), log); err != nil {
			t.Fatalf("%+v: %v", refusal, err)
		}
	})
}
