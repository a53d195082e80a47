package terms_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/terms"
)

// The parties of the main job, with their keys.
type world struct {
	keys    map[cypherlink.ParticipantID]*sign.Key
	roster  *cosi.Roster
	session *terms.Session
	agree   func(*terms.Batch) ([]terms.Refusal, error)
}

var network = cypherlink.NetworkID{1}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{
		keys:  map[cypherlink.ParticipantID]*sign.Key{},
		agree: func(*terms.Batch) ([]terms.Refusal, error) { return nil, nil },
	}
	job := mainJob()
	w.roster = w.newRoster(tb, cosi.All(), job.Signers()...)
	session, err := terms.NewSession(network, job.Payer, w.roster)
	if err != nil {
		tb.Fatal(err)
	}
	w.session = session
	return w
}

func (w *world) newRoster(tb testing.TB, policy cosi.Policy, ids ...cypherlink.ParticipantID) *cosi.Roster {
	tb.Helper()
	members := make([]cosi.Member, len(ids))
	for i, id := range ids {
		if w.keys[id] == nil {
			material := sha256.Sum256(id[:])
			key, err := sign.DeriveKey(material[:])
			if err != nil {
				tb.Fatal(err)
			}
			w.keys[id] = key
		}
		members[i] = cosi.Member{ID: id, Key: w.keys[id].Public()}
	}
	roster, err := cosi.NewRoster(members, policy)
	if err != nil {
		tb.Fatal(err)
	}
	return roster
}

// payment is the main job's payment with a UETR and a condition of its own.
func payment(n int) *terms.Terms {
	t := mainJob()
	binary.BigEndian.PutUint32(t.UETR[:4], uint32(n))
	t.Condition = cypherlink.Preimage{byte(n), byte(n >> 8), 1}.Condition()
	return &t
}

func batch(sequence uint64, n int) *terms.Batch {
	b := &terms.Batch{Sequence: sequence}
	for i := range n {
		b.Terms = append(b.Terms, payment(i))
	}
	return b
}

// prove has all parties sign the batch and gives its proofs.
func (w *world) prove(tb testing.TB, b *terms.Batch) []*terms.Proof {
	tb.Helper()
	at := time.Unix(0, 0)
	p := terms.NewProposer(w.session, terms.Pace{Resend: time.Second, Timeout: time.Minute}, b.Sequence)
	w.submitTogether(tb, p, at, b.Terms)
	e := w.answerAll(tb, p, at, b.Terms[0].UETR)
	proofs := make([]*terms.Proof, len(e.Settled))
	for i, o := range e.Settled {
		if o.Refusal != nil {
			tb.Fatalf("terms %d: %v", i, o.Refusal)
		}
		proofs[i] = o.Proof
	}
	return proofs
}

// blocker is a payment that occupies a proposer, so that others wait together.
const blocker = 1 << 24

// submitTogether hands in terms so that they make one batch: behind another payment, which then
// is settled.
func (w *world) submitTogether(tb testing.TB, p *terms.Proposer, at time.Time, all []*terms.Terms) {
	tb.Helper()
	if len(all) == 1 {
		step(tb, p, at, terms.Submit{Terms: all[0]})
		return
	}
	step(tb, p, at, terms.Submit{Terms: payment(blocker)})
	for _, t := range all {
		step(tb, p, at, terms.Submit{Terms: t})
	}
	w.answerAll(tb, p, at, payment(blocker).UETR)
}

// answerAll has every party sign the batch that begins with that payment, and gives the last
// effects.
func (w *world) answerAll(
	tb testing.TB, p *terms.Proposer, at time.Time, first cypherlink.UETR,
) terms.Effects {
	tb.Helper()
	// far in the future, everybody who has not answered is asked again
	e := step(tb, p, at.Add(2*time.Second), terms.Tick{})
	var last terms.Effects
	for _, ask := range e.Ask {
		if ask.Batch.Terms[0].UETR != first {
			tb.Fatalf("asked for another batch, of payment %s", ask.Batch.Terms[0].UETR)
		}
		last = step(tb, p, at, w.answer(tb, ask))
	}
	return last
}

// answer is what an honest party answers.
func (w *world) answer(tb testing.TB, ask terms.Ask) terms.Answered {
	tb.Helper()
	a, err := w.session.Countersign(ask.Batch, w.keys[ask.To], w.agree)
	if err != nil {
		tb.Fatal(err)
	}
	return terms.Answered{From: ask.To, Answer: a}
}

func step(tb testing.TB, p *terms.Proposer, at time.Time, in terms.Input) terms.Effects {
	tb.Helper()
	e, err := p.Step(at, in)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// share is a right signature over an empty batch: a wrong one over every other.
func wrongShare(tb testing.TB, key *sign.Key) cosi.Signature {
	tb.Helper()
	s, err := key.Sign(cosi.Frame{Type: cosi.Terms})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func refusalOf(index int, code cypherlink.Code) terms.Refusal {
	return terms.Refusal{
		Index: uint16(index),
		Err:   &cypherlink.Error{Code: code, Reason: "AM09", Message: fmt.Sprintf("terms %d", index)},
	}
}
