package chaintest

import (
	"math/rand/v2"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// Banks are Alice and Bob in the order in which they are sides A and B of a channel.
func (n *Network) Banks() [2]ledgertest.Actor {
	a, b := n.World.Alice, n.World.Bob
	if channels.InOrder([2]cypherlink.ParticipantID{a.ID, b.ID})[0] != a.ID {
		a, b = b, a
	}
	return [2]ledgertest.Actor{a, b}
}

// Open is what opens a channel of Banks in the world's asset: its windows are 5 s and 3 blocks.
func (n *Network) Open(nonce uint64) channels.Open {
	banks := n.Banks()
	o := channels.Open{Asset: n.World.Asset, Nonce: nonce, Limits: channels.DefaultLimits()}
	o.Limits.WindowS, o.Limits.Blocks = 5, 3
	for i := range banks {
		o.Banks[i], o.Accounts[i] = banks[i].ID, ledgertest.Account(banks[i])
	}
	return o
}

// Sealed is an update as it comes off the wire, with its hash.
func Sealed(u channels.Update) channels.Update {
	w := wire.NewWriter(256)
	u.AppendWire(w)
	return channels.ReadUpdate(wire.NewReader(w.Bytes()))
}

// Certificate is an update of a channel of Banks, sealed, under the signatures of both and of two of the
// world's Validators, whoever would sign it.
func (n *Network) Certificate(u channels.Update) *channels.Certificate {
	banks := n.Banks()
	c := &channels.Certificate{Update: Sealed(u)}
	f := c.Update.Frame(n.World.Network)
	c.Payer, _ = banks[u.Lane].Sign(f)
	c.Payee, _ = banks[u.Lane.Other()].Sign(f)
	for _, v := range n.World.Validators[:2] {
		e := channels.Endorsement{Validator: v.ID}
		e.Signature, _ = v.Sign(f)
		c.Endorsements = append(c.Endorsements, e)
	}
	return c
}

// Act signs an action on a channel.
func (n *Network) Act(by ledgertest.Actor, sequence uint64, a channels.Action) *channels.SignedAction {
	s := &channels.SignedAction{Network: n.World.Network, Signer: by.ID, Sequence: sequence, Action: a}
	s.Signature, _ = by.Sign(s.Frame()) // an actor's signature never fails
	return s
}

// Cosign signs a joint action of Banks by those of the roster: 0 and 1 are the banks, and the
// world's Validators follow. Too few of them make a certificate that no policy takes.
func (n *Network) Cosign(tb testing.TB, roster *cosi.Roster, j channels.Joint, by ...int) cosi.Certificate {
	tb.Helper()
	banks := n.Banks()
	signers := append(banks[:], n.World.Validators[:]...)
	frame := j.Frame(n.World.Network, roster.Root())
	shares := map[int]cosi.Signature{}
	for _, i := range by {
		key, err := sign.GenerateKey(rand.NewChaCha8(signers[i].Key)) // as New made it
		if err != nil {
			tb.Fatal(err)
		}
		if shares[i], err = key.SignRecorded(frame); err != nil {
			tb.Fatal(err)
		}
	}
	c, _, err := roster.Aggregate(frame, shares)
	if err != nil && roster.Satisfied(by) == nil {
		tb.Fatal(err)
	}
	return c
}
