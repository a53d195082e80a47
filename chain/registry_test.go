package chain_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	bls "github.com/cloudflare/circl/ecc/bls12381"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// now is a block time in seconds.
const now = chaintest.Start/1000 + 100

// scalarKey is the key n*G with the proof of possession that whoever knows n can make.
func scalarKey(t testing.TB, n int64) (cosi.PublicKey, cosi.Possession) {
	t.Helper()
	point, by := new(bls.G2), scalar(n)
	point.ScalarMult(by, bls.G2Generator())
	return parsed(t, point), possessionBy(point, by)
}

func scalar(n int64) *bls.Scalar {
	s := new(bls.Scalar)
	s.SetUint64(uint64(max(n, -n)))
	if n < 0 {
		s.Neg()
	}
	return s
}

func parsed(t testing.TB, point *bls.G2) cosi.PublicKey {
	t.Helper()
	key, err := cosi.ParsePublicKey(point.BytesCompressed())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// possessionBy is what somebody who knows a scalar can offer for a key.
func possessionBy(key *bls.G2, by *bls.Scalar) cosi.Possession {
	point := new(bls.G1)
	point.Hash(key.BytesCompressed(), []byte(cosi.PossessionSuite))
	point.ScalarMult(by, point)
	return cosi.Possession(point.BytesCompressed())
}

// scheme is a network and the registry that it begins with.
type scheme struct {
	*chaintest.Network
	*chain.Registry
}

func newScheme(t testing.TB) *scheme {
	t.Helper()
	n := chaintest.New(t, nil)
	return &scheme{n, n.Genesis.Registry()}
}

// amend makes a change the next version, in the block of that height.
func (s *scheme) amend(t testing.TB, height uint64, c chain.Change) *chain.Record {
	t.Helper()
	next, err := s.Amend(s.Version()+1, c, height, now)
	if err != nil {
		t.Fatal(err)
	}
	s.Registry = next
	rec, _ := next.Participant(cypherlink.ParticipantID(c.Subject()))
	return rec
}

func newcomer(t testing.TB, name string, role chain.Role) *chain.Register {
	t.Helper()
	p, _, _ := chaintest.Newcomer(t, name, role)
	return &chain.Register{Participant: p}
}

func rotation(t testing.TB, id cypherlink.ParticipantID, name string) *chain.Rotate {
	t.Helper()
	keys, _ := chaintest.Keys(t, name)
	return &chain.Rotate{ID: id, KeySet: keys}
}

// snapshot is everything that a registry says.
func snapshot(r *chain.Registry) []byte {
	var w wire.Writer
	w.U64(r.Version())
	for _, rec := range r.Records() {
		rec.AppendWire(&w)
	}
	for _, a := range r.Assets() {
		a.AppendWire(&w)
		w.Str(a.Label)
	}
	root := r.Authorities().Root()
	w.Fixed(root[:])
	return w.Bytes()
}

func TestRegister(t *testing.T) {
	s := newScheme(t)
	before := snapshot(s.Registry)
	c := newcomer(t, "a new bank", chain.RoleBank)
	c.From, c.Until = now+10, now+20
	old := s.Registry
	rec := s.amend(t, 7, c)
	want := chain.Record{
		Participant: c.Participant, Status: ledger.Active, StatusSince: 8, Since: 8,
		From: now + 10, Until: now + 20,
	}
	if got := encoded(rec); !bytes.Equal(got, encoded(&want)) {
		t.Fatalf("%+v", rec)
	}
	if found, ok := s.ByBIC(c.BIC); !ok || found.ID != c.ID || s.Version() != 1 {
		t.Fatal("the bank is not found by its BIC")
	}
	for seconds, want := range map[int64]ledger.Status{
		now + 9: ledger.NotValid, now + 10: ledger.Active, now + 19: ledger.Active, now + 20: ledger.NotValid,
	} {
		roll := s.At(seconds)
		key, status := roll.Signer(c.ID)
		if status != want || key != c.Identity {
			t.Fatalf("at %d it is %s", seconds-now, status)
		}
		if _, ok := roll.Key(c.ID); ok != (want == ledger.Active) {
			t.Fatalf("at %d its key is given: %t", seconds-now, ok)
		}
		if _, ok := roll.Pinned(c.TLS); !ok {
			t.Fatal("it cannot connect")
		}
	}
	if _, status := old.At(now + 10).Signer(c.ID); status != ledger.Unknown {
		t.Fatal("the version before knows it")
	}
	if !bytes.Equal(snapshot(old), before) {
		t.Fatal("the version before has changed")
	}
}

// Every role but the committee's may enter.
func TestRolesThatEnter(t *testing.T) {
	s := newScheme(t)
	for _, role := range []chain.Role{
		chain.RoleBank, chain.RoleClearing, chain.RoleValidator, chain.RoleOperator, chain.RoleRegulator,
		chain.RoleAuthority,
	} {
		if rec := s.amend(t, 1, newcomer(t, "new "+string(role), role)); rec.Role != role {
			t.Fatalf("%+v", rec)
		}
	}
}

// Old keys are kept, each with the heights for which it counts.
func TestRotate(t *testing.T) {
	s := newScheme(t)
	id := s.World.Alice.ID
	first, _ := s.Participant(id)
	one := rotation(t, id, "alice, one")
	s.amend(t, 10, one)
	two := *one // identity and cosigning key stay
	two.TLS = cypherlink.Hash{2}
	rec := s.amend(t, 20, &two)
	if rec.ID != id || rec.Since != 21 || len(rec.Former) != 2 || rec.BIC != first.BIC {
		t.Fatalf("%+v", rec)
	}
	for height, want := range map[uint64]chain.KeySet{
		0: first.KeySet, 10: first.KeySet, 11: one.KeySet, 20: one.KeySet, 21: two.KeySet, 99: two.KeySet,
	} {
		if got, ok := rec.KeysAt(height); !ok || got != want {
			t.Fatalf("at height %d: %+v", height, got)
		}
	}
	late := s.amend(t, 30, newcomer(t, "late", chain.RoleBank))
	if _, ok := late.KeysAt(30); ok {
		t.Fatal("keys count before they were registered")
	}
	if _, ok := s.At(now).Pinned(first.TLS); ok {
		t.Fatal("the old TLS key is still let in")
	}
	if _, ok := s.At(now).Pinned(two.TLS); !ok {
		t.Fatal("the new TLS key is not let in")
	}
	if key, ok := s.At(now).Key(id); !ok || key != one.Identity {
		t.Fatal("the new identity key does not count")
	}
}

// Two futures of one version have histories of their own, however long the common one is.
func TestForkedHistories(t *testing.T) {
	s := newScheme(t)
	id := s.World.Alice.ID
	turn := func(s *scheme, name string) *scheme {
		next := &scheme{s.Network, s.Registry}
		next.amend(t, s.Version(), rotation(t, id, name))
		return next
	}
	for i := range 9 {
		left, right := turn(s, fmt.Sprint("left ", i)), turn(s, fmt.Sprint("right ", i))
		want := left.record(id).KeySet
		left = turn(left, fmt.Sprint("left, then ", i))
		turn(right, fmt.Sprint("right, then ", i))
		if f := left.record(id).Former; f[len(f)-1].KeySet != want {
			t.Fatalf("after %d common keys one future has changed the other", i)
		}
		s = turn(s, fmt.Sprint("both ", i))
	}
}

func TestSuspendResumeRevoke(t *testing.T) {
	s := newScheme(t)
	id := s.World.Bob.ID
	tls := s.record(id).TLS
	for i, tt := range []struct {
		change chain.Change
		want   ledger.Status
	}{
		{&chain.Suspend{ID: id}, ledger.Suspended},
		{rotation(t, id, "bob while suspended"), ledger.Suspended},
		{&chain.Resume{ID: id}, ledger.Active},
		{&chain.Suspend{ID: id}, ledger.Suspended},
		{&chain.Revoke{ID: id}, ledger.Revoked},
	} {
		rec := s.amend(t, uint64(i), tt.change)
		if _, status := s.At(now).Signer(id); status != tt.want || rec.Status != tt.want {
			t.Fatalf("after %T it is %s", tt.change, status)
		}
		if _, ok := tt.change.(*chain.Rotate); !ok && rec.StatusSince != uint64(i+1) {
			t.Fatalf("%+v", rec)
		}
		if _, ok := s.At(now).Key(id); ok != (tt.want == ledger.Active) {
			t.Fatalf("after %T its key counts: %t", tt.change, ok)
		}
		if _, ok := s.At(now).Pinned(rec.TLS); ok != (tt.want != ledger.Revoked) {
			t.Fatalf("after %T it may connect: %t", tt.change, ok)
		}
	}
	if _, ok := s.At(now).Pinned(tls); ok {
		t.Fatal("a former TLS key is let in")
	}
}

func TestSetPolicy(t *testing.T) {
	s := newScheme(t)
	old := s.Registry
	before := snapshot(old)
	want := validator.Policy{
		Threshold: 1, RuleSet: cypherlink.Hash{5},
		Validators: []cypherlink.ParticipantID{s.World.Validators[2].ID},
	}
	s.amend(t, 1, &chain.SetPolicy{Asset: s.World.Asset, Policy: want})
	got, ok := s.Policy(s.World.Asset)
	if !ok || got.RuleSet != want.RuleSet || !slices.Equal(got.Validators, want.Validators) {
		t.Fatalf("%+v", got)
	}
	if p := s.Policies(s.World.Ledger); len(p) != 2 || p[s.World.Asset].RuleSet != want.RuleSet {
		t.Fatalf("%+v", p)
	}
	if !bytes.Equal(snapshot(old), before) || old.Policies(s.World.Ledger)[s.World.Asset].RuleSet == want.RuleSet {
		t.Fatal("the version before has changed")
	}
	if _, ok := s.Policy(cypherlink.Asset{Ledger: s.World.Ledger, Code: "XXX"}); ok {
		t.Fatal("there is a policy of no asset")
	}
}

// Whoever is an authority of a version signs the next one; k-1 signatures are none.
func TestAuthenticate(t *testing.T) {
	s := newScheme(t)
	suspend := &chain.Suspend{ID: s.World.Alice.ID}
	for _, by := range [][]int{{0, 1}, {1, 2}, {0, 2}, {0, 1, 2}} {
		if err := s.Authenticate(s.Change(t, s.Registry, suspend, by...)); err != nil {
			t.Fatalf("by %v: %v", by, err)
		}
	}
	other := &scheme{Network: chaintest.New(t, func(f *chain.GenesisFile) { f.Scheme = "another" })}
	other.Registry = other.Genesis.Registry()
	later := &scheme{s.Network, s.Registry}
	later.amend(t, 1, &chain.Suspend{ID: s.World.Bob.ID})
	wider := &scheme{s.Network, s.Registry}
	enter := newcomer(t, "authority 4", chain.RoleAuthority)
	wider.amend(t, 1, enter)
	stranger, err := sign.GenerateKey(source(9))
	if err != nil {
		t.Fatal(err)
	}
	good := s.Change(t, s.Registry, suspend)
	tests := []struct {
		name string
		on   *chain.Registry
		edit func(c *chain.CertifiedChange)
		code cypherlink.Code
	}{
		{"one signature of two", s.Registry, func(c *chain.CertifiedChange) {
			*c = *s.Change(t, s.Registry, suspend, 2)
		}, chain.CodeChangeCertificate},
		{"a stranger's signature in an authority's place", s.Registry, func(c *chain.CertifiedChange) {
			forged := chaintest.Certify(t, s.Registry, 1, suspend, s.AuthorityKeys[0], stranger)
			c.Certificate.Signature = forged.Certificate.Signature
		}, chain.CodeChangeCertificate},
		{"no signature", s.Registry, func(c *chain.CertifiedChange) {
			c.Certificate = cosi.Certificate{Bitmap: []byte{7}}
		}, chain.CodeChangeCertificate},
		{"a bit of nobody", s.Registry, func(c *chain.CertifiedChange) {
			c.Certificate.Bitmap = []byte{c.Certificate.Bitmap[0] | 8}
		}, chain.CodeChangeCertificate},
		{"another change", s.Registry, func(c *chain.CertifiedChange) {
			c.Change = &chain.Suspend{ID: s.World.Bob.ID}
		}, chain.CodeChangeCertificate},
		{"another kind of change", s.Registry, func(c *chain.CertifiedChange) {
			c.Change = &chain.Revoke{ID: s.World.Alice.ID}
		}, chain.CodeChangeCertificate},
		{"another version", s.Registry, func(c *chain.CertifiedChange) { c.Version++ }, chain.CodeChangeCertificate},
		{"on another network", other.Registry, func(*chain.CertifiedChange) {}, chain.CodeChangeCertificate},
		{"on a later version", later.Registry, func(*chain.CertifiedChange) {}, chain.CodeChangeVersion},
		{"on a later version, as if made for it", later.Registry, func(c *chain.CertifiedChange) {
			c.Base, c.Version = 1, 2
		}, chain.CodeChangeCertificate},
		{"under another roster, of the same version", wider.Registry, func(c *chain.CertifiedChange) {
			*c = *s.Change(t, later.Registry, suspend)
		}, chain.CodeChangeCertificate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := *good
			tt.edit(&c)
			for range 2 { // what was wrong is wrong again
				if err := tt.on.Authenticate(&c); cypherlink.ErrorCode(err) != tt.code {
					t.Fatalf("%v", err)
				}
			}
		})
	}
	_, _, key := chaintest.Newcomer(t, "authority 4", chain.RoleAuthority)
	by := chaintest.Certify(t, wider.Registry, 2, suspend, s.AuthorityKeys[0], key)
	if err := wider.Authenticate(by); err != nil {
		t.Fatalf("a new authority does not count: %v", err)
	}
}

// The frame says what it is: no other signature stands for it (A1, A10).
func TestFrameOfAChange(t *testing.T) {
	s := newScheme(t)
	f := s.Frame(3, &chain.Suspend{ID: s.World.Alice.ID})
	if f.Type != cosi.RegistryChange || f.Network != s.Genesis.Network() || f.Sequence != 3 || f.Epoch != 0 ||
		f.Roster != s.Authorities().Root() || f.Scope != chain.RegistryScope() || f.Valid() != nil {
		t.Fatalf("%+v", f)
	}
	if !sign.Binds(f.Type) {
		t.Fatal("an authority may sign two changes for one version")
	}
	later := &scheme{s.Network, s.Registry}
	later.amend(t, 1, &chain.Suspend{ID: s.World.Bob.ID})
	if later.Frame(3, &chain.Suspend{ID: s.World.Alice.ID}) == f {
		t.Fatal("the version that a change stands on is not signed")
	}
}

func TestAuthoritiesStandInTheOrderOfTheirIDs(t *testing.T) {
	s := newScheme(t)
	r := s.Authorities()
	if r.Len() != chaintest.Authorities {
		t.Fatalf("%d authorities", r.Len())
	}
	for i := 1; i < r.Len(); i++ {
		a, b := r.Member(i-1).ID, r.Member(i).ID
		if slices.Compare(a[:], b[:]) >= 0 {
			t.Fatal("the roster is in another order")
		}
	}
	if err := r.Satisfied([]int{0}); err == nil || r.Satisfied([]int{0, 2}) != nil {
		t.Fatal("another number of authorities is asked for")
	}
}

func TestRestore(t *testing.T) {
	s := newScheme(t)
	s.amend(t, 1, rotation(t, s.World.Alice.ID, "alice, one"))
	s.amend(t, 2, &chain.Suspend{ID: s.World.Bob.ID})
	s.amend(t, 3, &chain.SetPolicy{Asset: s.World.Asset})
	var records []chain.Record
	for _, rec := range s.Records() {
		again, err := decoded(encoded(rec), chain.ReadRecord)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, again)
	}
	r, err := s.Genesis.Restore(s.Version(), records, s.Assets())
	if err != nil || !bytes.Equal(snapshot(r), snapshot(s.Registry)) {
		t.Fatalf("restored differs: %v", err)
	}
	unknown := []chain.Asset{{Asset: cypherlink.Asset{Ledger: "xx", Code: "EUR", Scale: 2}}}
	if _, err := s.Genesis.Restore(3, records, unknown); !errors.Is(err, chain.ErrRegistry) {
		t.Fatal(err)
	}
	none := slices.DeleteFunc(records, func(r chain.Record) bool { return r.Role == chain.RoleAuthority })
	if _, err := s.Genesis.Restore(3, none, nil); !errors.Is(err, chain.ErrRegistry) ||
		!strings.Contains(err.Error(), "0 active") {
		t.Fatal(err)
	}
}
