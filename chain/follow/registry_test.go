package follow_test

import (
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// A follower knows the registry of the chain that it has verified, also after a start, and the
// charter of any ledger can rest on it.
func TestRegistryOfAFollower(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		store := state.NewMemory()
		f, stop := following(t, c.options(store, c.honest()))
		before := f.Registry()
		p, actor, _ := chaintest.Newcomer(t, "a new bank", chain.RoleBank)
		change := func(seconds int64, change chain.Change) {
			on := c.state.Final().Registry()
			c.blockOf(t, seconds, state.RegistryChange{Certified: c.Change(t, on, change)})
		}
		policy := validator.Policy{
			Threshold: 1, RuleSet: w.RuleSet, Validators: []cypherlink.ParticipantID{w.Validators[0].ID},
		}
		change(1, &chain.Register{Participant: p, Until: start + 10})
		change(2, &chain.SetPolicy{Asset: w.Asset, Policy: policy})
		change(3, &chain.Revoke{ID: w.Mallory.ID})
		reach(t, f, 3)
		check := func(f *follow.Follower) {
			t.Helper()
			r := f.Registry()
			if rec, ok := r.ByBIC(p.BIC); !ok || rec.ID != actor.ID || r.Version() != 3 {
				t.Fatalf("%+v", rec)
			}
			if key, ok := r.Key(actor.ID); !ok || key != actor.Key {
				t.Fatal("the new bank may not speak")
			}
			if _, status := r.Signer(w.Mallory.ID); status != ledger.Revoked {
				t.Fatalf("Mallory is %s", status)
			}
			if got, ok := r.Policy(w.Asset); !ok || len(got.Validators) != 1 {
				t.Fatalf("%+v", got)
			}
			charter, err := c.Genesis.Charter(c.Genesis.Chain())
			if err != nil {
				t.Fatal(err)
			}
			charter.Keys, charter.Signers, charter.Policies = r, r, r.Policies(charter.Ledger)
			byNew, byMallory := w.Sign(actor, &ledger.Return{}), w.Sign(w.Mallory, &ledger.Return{})
			errs := charter.Authenticate(byNew, byMallory)
			if errs[0] != nil || cypherlink.ErrorCode(errs[1]) != ledger.CodeRevoked || charter.Valid() != nil {
				t.Fatal(errs)
			}
		}
		check(f)
		if _, ok := before.Participant(actor.ID); ok || before.Version() != 0 {
			t.Fatal("what was asked before has changed")
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		f, _ = following(t, c.options(store, c.honest()))
		check(f)
		c.block(t, 10)
		reach(t, f, 4)
		if _, ok := f.Registry().Key(actor.ID); ok {
			t.Fatal("the new bank may speak beyond its time")
		}
	})
}
