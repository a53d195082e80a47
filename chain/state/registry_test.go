package state_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

// change is a transaction that makes the final registry the next version.
func (f *fabric) change(t testing.TB, c chain.Change, by ...int) *state.Transaction {
	t.Helper()
	return changeOn(t, f.Network, f.Final().Registry(), c, by...)
}

func changeOn(
	t testing.TB, n *chaintest.Network, on *chain.Registry, c chain.Change, by ...int,
) *state.Transaction {
	t.Helper()
	return state.NewTransaction(state.RegistryChange{Certified: n.Change(t, on, c, by...)})
}

func newcomer(t testing.TB, name string, role chain.Role) (*chain.Register, ledgertest.Actor) {
	t.Helper()
	p, a, _ := chaintest.Newcomer(t, name, role)
	return &chain.Register{Participant: p}, a
}

// changes are one of each kind.
func changes(t testing.TB, f *fabric) []chain.Change {
	enter, _ := newcomer(t, "a new bank", chain.RoleBank)
	keys, _ := chaintest.Keys(t, "alice, again")
	id := f.World.Alice.ID
	return []chain.Change{
		enter, &chain.Rotate{ID: id, KeySet: keys}, &chain.Suspend{ID: id}, &chain.Resume{ID: id},
		&chain.Revoke{ID: id}, &chain.SetPolicy{Asset: f.World.Asset, Policy: validator.Policy{
			Threshold: 1, RuleSet: cypherlink.Hash{1},
			Validators: []cypherlink.ParticipantID{f.World.Validators[0].ID},
		}},
	}
}

// refuses demands the same refusal of everybody: at admission or a trial, of the one who builds a
// block, and of those who execute one that holds it all the same.
func (f *fabric) refuses(t testing.TB, seconds int64, tx *state.Transaction, want cypherlink.Code) *cypherlink.Error {
	t.Helper()
	at := (start + seconds) * 1000
	for range 2 {
		if err := f.Try(f.Final(), at, tx); answer(err) != want {
			t.Fatalf("tried: %v, want %s", err, want)
		}
	}
	built, _ := f.buildOf(t, seconds, tx)
	if len(built.LeftOut) != 1 || answer(built.LeftOut[0].Err) != want {
		t.Fatalf("built: %v, want %s", built.LeftOut, want)
	}
	b := f.Block(f.qc, at, chain.Payload{tx.Encode()}, f.Final().Roots())
	_, err := f.Execute(f.Final(), b.Header, b.Payload)
	if !errors.Is(err, state.ErrBlock) || answer(err) != want {
		t.Fatalf("executed: %v, want %s", err, want)
	}
	refusal, _ := errors.AsType[*cypherlink.Error](built.LeftOut[0].Err)
	return refusal
}

func command(c *ledger.SignedCommand) *state.Transaction { return transactions(c)[0] }

// A change counts from the next block on, for commands; for changes at once.
func TestAChangeCountsFromTheNextBlockOn(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p := w.Payment("one", 100, start+60)
	f.block(t, 1, w.Prepare(p))
	enter, bank := newcomer(t, "a new bank", chain.RoleBank)
	confirm := command(w.Confirm(bank, p))
	f.refuses(t, 2, confirm, ledger.CodeUnknownSigner)
	built, b := f.buildOf(t, 2, f.change(t, enter), confirm)
	if len(built.LeftOut) != 1 || code(built.LeftOut[0].Err) != ledger.CodeUnknownSigner {
		t.Fatalf("left out %+v", built.LeftOut)
	}
	v := f.commit(t, b)
	if e := v.Events(); len(e) != 1 || e[0].Fact.(state.RegistryFact).Version != 1 ||
		e[0].Fact.Subject() != cypherlink.Hash(bank.ID) {
		t.Fatalf("%+v", e)
	}
	if rec, ok := f.Registry().Participant(bank.ID); !ok || rec.Since != 3 {
		t.Fatalf("%+v", rec)
	}
	f.blockOf(t, 3, confirm)
	f.holds(t, w.Bob, ledgertest.Opening+100)
	// The last breath of one who goes is heard, too.
	q := w.Payment("two", 100, start+60)
	f.blockOf(t, 4, f.change(t, &chain.Revoke{ID: w.Alice.ID}), command(w.Prepare(q)))
	f.refuses(t, 5, command(w.Prepare(w.Payment("three", 1, start+60))), ledger.CodeRevoked)
}

// Of two changes in a block the second stands on the first, also on the authorities that it makes.
func TestChangesInOneBlock(t *testing.T) {
	f := weave(t, state.NewMemory())
	p, _, key := chaintest.Newcomer(t, "authority 4", chain.RoleAuthority)
	enter := &chain.Register{Participant: p}
	one := f.change(t, enter)
	next, err := f.Final().Registry().Amend(1, enter, 1, start+1)
	if err != nil {
		t.Fatal(err)
	}
	suspend := &chain.Suspend{ID: f.World.Alice.ID}
	two := state.NewTransaction(state.RegistryChange{
		Certified: chaintest.Certify(t, next, 2, suspend, f.AuthorityKeys[0], key),
	})
	f.refuses(t, 1, two, chain.CodeChangeVersion)
	few := state.NewTransaction(state.RegistryChange{
		Certified: chaintest.Certify(t, next, 2, suspend, key),
	})
	if b, _ := f.buildOf(t, 1, one, few); len(b.LeftOut) != 1 || code(b.LeftOut[0].Err) != chain.CodeChangeCertificate {
		t.Fatalf("%+v", b)
	}
	built, _ := f.buildOf(t, 1, two, one) // in their order alone
	if len(built.Payload) != 1 || code(built.LeftOut[0].Err) != chain.CodeChangeVersion {
		t.Fatalf("%+v", built)
	}
	f.blockOf(t, 1, one, two)
	if r := f.Registry(); r.Version() != 2 || r.Authorities().Len() != chaintest.Authorities+1 {
		t.Fatalf("version %d", r.Version())
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	suspend := &chain.Suspend{ID: w.Alice.ID}
	other := chaintest.New(t, func(g *chain.GenesisFile) { g.Scheme = "another" })
	foreign := changeOn(t, other, other.Genesis.Registry(), suspend)
	f.refuses(t, 1, f.change(t, suspend, 1), chain.CodeChangeCertificate)
	f.refuses(t, 1, foreign, chain.CodeChangeCertificate)
	f.refuses(t, 1, f.change(t, &chain.Resume{ID: w.Alice.ID}), chain.CodeChangeStatus)
	f.refuses(t, 1, f.change(t, &chain.Revoke{ID: f.memberID()}), chain.CodeChangeMember)
	first := f.change(t, suspend)
	rival := f.change(t, &chain.Suspend{ID: w.Bob.ID})
	if errs := f.Verify([]*state.Transaction{first, foreign, rival}); errs[0] != nil || errs[2] != nil ||
		code(errs[1]) != chain.CodeChangeCertificate {
		t.Fatal(errs)
	}
	f.blockOf(t, 1, first)
	f.refuses(t, 2, first, "repeated")
	f.refuses(t, 2, rival, chain.CodeChangeVersion)
	// The same change by others is the same change.
	again := f.change(t, suspend, 1, 2).Body.(state.RegistryChange).Certified
	again.Base, again.Version = 0, 1
	f.refuses(t, 2, state.NewTransaction(state.RegistryChange{Certified: again}), "repeated")
	f.blockOf(t, 2, f.change(t, &chain.Resume{ID: w.Alice.ID}))
	f.refuses(t, 3, first, "repeated")
	f.refuses(t, 3, rival, chain.CodeChangeVersion)
}

// A version that was signed for what came to nothing is left out.
func TestAVersionMayBeLeftOut(t *testing.T) {
	f := weave(t, state.NewMemory())
	on := f.Final().Registry()
	certified := chaintest.Certify(t, on, 3, &chain.Suspend{ID: f.World.Alice.ID}, f.AuthorityKeys[1:]...)
	lost := f.change(t, &chain.Suspend{ID: f.World.Bob.ID})
	f.blockOf(t, 1, state.NewTransaction(state.RegistryChange{Certified: certified}))
	if f.Registry().Version() != 3 {
		t.Fatalf("version %d", f.Registry().Version())
	}
	f.refuses(t, 2, lost, chain.CodeChangeVersion)
	f.blockOf(t, 2, f.change(t, &chain.Resume{ID: f.World.Alice.ID}))
}

// The refusal of a suspended bank's payment tells code and reason (banking.md 2.4).
func TestASuspendedBank(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	byBob, byOther := w.Payment("by bob", 100, start+60), w.Payment("by another", 10, start+60)
	back, late := w.Payment("back", 1000, start+60), w.Payment("late", 7, start+60)
	f.block(t, 1, w.Prepare(byBob), w.Prepare(byOther), w.Prepare(back), w.Prepare(late))
	f.blockOf(t, 2, f.change(t, &chain.Suspend{ID: w.Bob.ID}))
	toBob := w.Prepare(w.Payment("new", 1, start+60))
	if r := f.refuses(t, 3, command(toBob), ledger.CodePayeeBarred); r.Reason != "AG11" {
		t.Fatalf("%+v", r)
	}
	ofBob := w.Payment("of bob", 1, start+60)
	ofBob.Subject.Fields.Debit, ofBob.Subject.Fields.Credit = ledgertest.Account(w.Bob), ledgertest.Account(w.Alice)
	prepare := w.Prepare(ofBob)
	prepare.Signer = w.Bob.ID
	ledgertest.Resign(w.Bob, prepare)
	if r := f.refuses(t, 3, command(prepare), ledger.CodeSuspended); r.Reason != "AG10" {
		t.Fatalf("%+v", r)
	}
	stranger := w.Payment("of others", 5, start+60)
	stranger.Subject.Fields.Credit = ledgertest.Account(w.Mallory)
	f.block(t, 3, w.Prepare(stranger))
	f.refuses(t, 4, command(w.Confirm(w.Bob, stranger)), ledger.CodeSuspended)
	// What is under way ends: by its own hand, by another's, by giving back, by its expiry.
	f.block(t, 4, w.Confirm(w.Bob, byBob), w.Confirm(w.Mallory, byOther), w.Return(w.Bob, back))
	f.holds(t, w.Bob, ledgertest.Opening+110)
	f.block(t, 60)
	f.holds(t, w.Alice, ledgertest.Opening-110)
	f.blockOf(t, 61, f.change(t, &chain.Resume{ID: w.Bob.ID}))
	prepare.Command.(*ledger.Prepare).Subject.Fields.Expiry = start + 90
	prepare.Command.(*ledger.Prepare).Verdicts = w.Verdicts(prepare.Command.(*ledger.Prepare).Subject)
	ledgertest.Resign(w.Bob, prepare)
	f.block(t, 62, prepare)
}

// A revoked bank is not heard any more; what others promised it, they keep.
func TestARevokedBank(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p, late := w.Payment("one", 100, start+60), w.Payment("late", 7, start+60)
	f.block(t, 1, w.Prepare(p), w.Prepare(late))
	f.blockOf(t, 2, f.change(t, &chain.Revoke{ID: w.Bob.ID}))
	if r := f.refuses(t, 3, command(w.Confirm(w.Bob, p)), ledger.CodeRevoked); r.Reason != "DS0C" {
		t.Fatalf("%+v", r)
	}
	f.refuses(t, 3, command(w.Return(w.Bob, p)), ledger.CodeRevoked)
	f.block(t, 3, w.Confirm(w.Mallory, p))
	f.holds(t, w.Bob, ledgertest.Opening+100)
	f.block(t, 60)
	f.holds(t, w.Alice, ledgertest.Opening-100)
	f.refuses(t, 61, f.change(t, &chain.Resume{ID: w.Bob.ID}), chain.CodeChangeStatus)
}

// Outside its time a bank is as if suspended; block time decides.
func TestValidity(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	enter, bank := newcomer(t, "a new bank", chain.RoleBank)
	enter.From, enter.Until = start+10, start+20
	p := w.Payment("one", 100, start+60)
	f.blockOf(t, 1, f.change(t, enter), command(w.Prepare(p)))
	confirm := command(w.Confirm(bank, p))
	if r := f.refuses(t, 9, confirm, ledger.CodeNotValid); r.Reason != "DS0D" {
		t.Fatalf("%+v", r)
	}
	f.refuses(t, 20, confirm, ledger.CodeNotValid)
	for _, at := range []int64{10, 19} {
		if err := f.Try(f.Final(), (start+at)*1000, confirm); err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
	}
	f.blockOf(t, 19, confirm)
}

// A verdict counts while its Validator may speak, when it is used, not when it was given.
func TestVerdictsOfThePast(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	prepare := command(w.Prepare(w.Payment("one", 100, start+60))) // by Validators 1 and 2
	if err := f.Try(f.Final(), (start+1)*1000, prepare); err != nil {
		t.Fatal(err)
	}
	second := w.Validators[1].ID
	f.blockOf(t, 1, f.change(t, &chain.Suspend{ID: second}))
	f.refuses(t, 2, prepare, ledger.CodeNotApproved)
	f.blockOf(t, 2, f.change(t, &chain.Resume{ID: second}))
	if err := f.Try(f.Final(), (start+3)*1000, prepare); err != nil {
		t.Fatal(err)
	}
	keys, _ := chaintest.Keys(t, "validator 2, again")
	f.blockOf(t, 3, f.change(t, &chain.Rotate{ID: second, KeySet: keys}))
	f.refuses(t, 4, prepare, ledger.CodeNotApproved)
	f.blockOf(t, 4, f.change(t, &chain.Revoke{ID: second}))
	f.refuses(t, 5, prepare, ledger.CodeNotApproved)
	// The policy that is left asks for Validators 1 and 3; then for another one alone.
	q := w.Payment("two", 10, start+60)
	third := w.Prepare(q)
	v := w.Approval(q.Subject)
	third.Command.(*ledger.Prepare).Verdicts = []validator.Signed{
		w.Signed(w.Validators[0], v), w.Signed(w.Validators[2], v),
	}
	ledgertest.Resign(w.Alice, third)
	f.block(t, 5, third)
	enter, fourth := newcomer(t, "validator 4", chain.RoleValidator)
	f.blockOf(t, 6, f.change(t, enter))
	f.blockOf(t, 7, f.change(t, &chain.SetPolicy{Asset: w.Asset, Policy: validator.Policy{
		Threshold: 1, RuleSet: w.RuleSet, Validators: []cypherlink.ParticipantID{fourth.ID},
	}}))
	r := w.Payment("three", 10, start+60)
	f.refuses(t, 8, command(w.Prepare(r)), ledger.CodeNotApproved)
	by := w.Prepare(r)
	by.Command.(*ledger.Prepare).Verdicts = []validator.Signed{w.Signed(fourth, w.Approval(r.Subject))}
	ledgertest.Resign(w.Alice, by)
	f.block(t, 8, by)
}

// A bank with new keys is the same bank; its old signatures stay checkable, and give no new right.
func TestRotation(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p := w.Payment("one", 100, start+60)
	old := w.Prepare(p)
	f.block(t, 1, old)
	keys, actor := chaintest.Keys(t, "alice, again")
	f.blockOf(t, 2, f.change(t, &chain.Rotate{ID: w.Alice.ID, KeySet: keys}))
	q := w.Payment("two", 10, start+60)
	prepare := w.Prepare(q)
	f.refuses(t, 3, command(prepare), ledger.CodeSignature)
	ledgertest.Resign(actor, prepare) // by the new key, in the old name
	f.block(t, 3, prepare)
	f.holds(t, w.Alice, ledgertest.Opening-110)
	rec, ok := f.Registry().Participant(w.Alice.ID)
	if !ok || rec.Identity != actor.Key {
		t.Fatalf("%+v", rec)
	}
	for height, c := range map[uint64]*ledger.SignedCommand{1: old, 3: prepare} {
		then, ok := rec.KeysAt(height)
		if !ok || cosi.VerifyEd25519(then.Identity, c.Frame(), c.Signature) != nil {
			t.Fatalf("the signature of block %d cannot be checked any more", height)
		}
	}
	f.refuses(t, 4, command(w.Sign(actor, &ledger.Return{ID: w.ID(p)})), ledger.CodeUnknownSigner)
}

// Two futures have each its own registry; the one that becomes final is the one that counts.
func TestForkedRegistries(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p := w.Payment("one", 100, start+60)
	f.block(t, 1, w.Prepare(p))
	base := f.Final()
	_, left := f.buildOf(t, 2, f.change(t, &chain.Revoke{ID: w.Bob.ID}))
	_, right := f.buildOf(t, 2, f.change(t, &chain.Revoke{ID: w.Mallory.ID}))
	versions := map[string]*state.Version{}
	for name, b := range map[string]chain.Block{"left": left, "right": right} {
		v, err := f.Execute(base, b.Header, b.Payload)
		if err != nil {
			t.Fatal(err)
		}
		versions[name] = v
	}
	byBob, byMallory := command(w.Confirm(w.Bob, p)), command(w.Confirm(w.Mallory, p))
	at := int64(start+3) * 1000
	for _, tt := range []struct {
		on   *state.Version
		tx   *state.Transaction
		want cypherlink.Code
	}{
		{base, byBob, ""},
		{base, byMallory, ""},
		{versions["left"], byBob, ledger.CodeRevoked},
		{versions["left"], byMallory, ""},
		{versions["right"], byBob, ""},
		{versions["right"], byMallory, ledger.CodeRevoked},
	} {
		for range 2 {
			if err := f.Try(tt.on, at, tt.tx); code(err) != tt.want {
				t.Fatalf("on version %d: %v, want %q", tt.on.Registry().Version(), err, tt.want)
			}
		}
	}
	f.commit(t, right)
	if errs := f.Verify([]*state.Transaction{byBob, byMallory}); errs[0] != nil || code(errs[1]) != ledger.CodeRevoked {
		t.Fatal(errs)
	}
	f.blockOf(t, 3, byBob)
}

// What is not final does not admit anybody, and what is does, whoever asks meanwhile.
func TestAdmissionWhileBlocksBecomeFinal(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	txs := transactions(w.Prepare(w.Payment("one", 1, start+900)))
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					roll := f.Registry()
					if _, status := roll.Signer(w.Alice.ID); status == ledger.Unknown {
						t.Error("Alice is gone")
					}
					if err := f.Verify(txs)[0]; code(err) != "" {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range int64(10) {
		f.blockOf(t, 2*i+1, f.change(t, &chain.Suspend{ID: w.Alice.ID}))
		f.blockOf(t, 2*i+2, f.change(t, &chain.Resume{ID: w.Alice.ID}))
	}
	close(stop)
	asking.Wait()
}

func (f *fabric) memberID() cypherlink.ParticipantID { return f.Committee.Roster().Member(0).ID }
