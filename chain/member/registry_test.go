package member_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
)

// amend makes a change final and gives the registry that it leaves.
func (w *town) amend(c *peer.Client, r *chain.Registry, change chain.Change) *chain.Registry {
	w.t.Helper()
	certified := w.Change(w.t, r, change)
	o, err := submitTx(c, patience, state.NewTransaction(state.RegistryChange{Certified: certified}))
	if err != nil || o.Status != follow.Final {
		w.t.Fatalf("outcome %+v, %v", o, err)
	}
	next, err := r.Amend(certified.Version, change, o.Height, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return next
}

// hears tells whether a member answers on the connection.
func hears(c *peer.Client) bool {
	return answered(c, follow.KindFetch, follow.Fetch{From: 1}.Encode()) == nil
}

// Who enters the registry may connect to members that run, and act; who is revoked is cut off, and
// who has another TLS key is known by that one alone. A start changes nothing of it.
func TestWhoIsInTheRegistryIsHeard(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	r := w.Genesis.Registry()
	alice := w.client(0)
	tls, other := identity(t), identity(t)
	p, actor, _ := chaintest.Newcomer(t, "a new bank", chain.RoleBank)
	p.TLS = cypherlink.Hash(tls.SPKI())
	stranger := w.dial(tls, 1, follow.Wire())
	if hears(stranger) {
		t.Fatal("a stranger is heard")
	}
	r = w.amend(alice, r, &chain.Register{Participant: p})
	for i := range w.runs {
		c := w.dial(tls, i, follow.Wire())
		w.eventually(fmt.Sprint("member ", i, " hears the new bank"), func() bool { return hears(c) })
	}
	payment := w.payment("one")
	w.settle(alice, w.World.Prepare(payment))
	w.settle(stranger, w.World.Confirm(actor, payment))

	keys := p.KeySet
	keys.TLS = cypherlink.Hash(other.SPKI())
	r = w.amend(alice, r, &chain.Rotate{ID: p.ID, KeySet: keys})
	w.eventually("the old TLS key is cut off", func() bool { return !hears(stranger) })
	again := w.dial(other, 1, follow.Wire())
	w.eventually("the new TLS key is let in", func() bool { return hears(again) })
	w.stop(1)
	w.start(1)
	w.eventually("the member knows it after a start", func() bool { return hears(again) })
	if hears(stranger) {
		t.Fatal("after a start the old TLS key is let in")
	}

	r = w.amend(alice, r, &chain.Suspend{ID: p.ID})
	if !hears(again) {
		t.Fatal("a suspended bank cannot end what it has begun")
	}
	w.amend(alice, r, &chain.Revoke{ID: p.ID})
	w.eventually("the revoked bank is cut off", func() bool { return !hears(again) })
}

// A repeated change is answered from the state, a stale one refused.
func TestChangesThroughAMember(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	r := w.Genesis.Registry()
	c := w.client(2)
	suspend := &chain.Suspend{ID: w.World.Bob.ID}
	tx := state.NewTransaction(state.RegistryChange{Certified: w.Change(t, r, suspend)})
	rival := state.NewTransaction(state.RegistryChange{
		Certified: w.Change(t, r, &chain.Suspend{ID: w.World.Mallory.ID}),
	})
	one := state.NewTransaction(state.RegistryChange{Certified: w.Change(t, r, suspend, 1)})
	if o, err := submitTx(c, patience, one); err != nil || o.Status != follow.Refused ||
		o.Refusal.Code != chain.CodeChangeCertificate {
		t.Fatalf("outcome %+v, %v", o, err)
	}
	r = w.amend(c, r, suspend)
	if o, err := submitTx(w.client(0), patience, tx); err != nil || o.Status != follow.Final {
		t.Fatalf("outcome %+v, %v", o, err)
	}
	if o, err := submitTx(c, patience, rival); err != nil || o.Status != follow.Refused ||
		o.Refusal.Code != chain.CodeChangeVersion {
		t.Fatalf("outcome %+v, %v", o, err)
	}
	o, err := submit(c, patience, w.World.Prepare(w.payment("to a suspended bank")))
	if err != nil || o.Status != follow.Refused || o.Refusal.Code != ledger.CodePayeeBarred ||
		o.Refusal.Reason != "AG11" {
		t.Fatalf("outcome %+v, %v", o, err)
	}
	w.amend(c, r, &chain.Resume{ID: w.World.Bob.ID})
	w.settle(c, w.World.Prepare(w.World.Payment("to bob", 1, time.Now().Add(10*time.Minute).Unix())))
}
