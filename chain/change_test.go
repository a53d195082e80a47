package chain_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	bls "github.com/cloudflare/circl/ecc/bls12381"
	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// A policy names Validators that can speak.
func TestAPolicyNamesNoSuspendedValidator(t *testing.T) {
	s := newScheme(t)
	id := s.World.Validators[0].ID
	c := &chain.SetPolicy{Asset: s.World.Asset, Policy: validator.Policy{
		Threshold: 1, RuleSet: cypherlink.Hash{5}, Validators: []cypherlink.ParticipantID{id},
	}}
	s.amend(t, 1, &chain.Suspend{ID: id})
	if _, err := s.Amend(2, c, 2, now); cypherlink.ErrorCode(err) != chain.CodeChangeMalformed {
		t.Fatal(err)
	}
	s.amend(t, 2, &chain.Resume{ID: id})
	s.amend(t, 3, c)
}

// Versions grow, and not by much: whoever signs one keeps room for the next.
func TestVersions(t *testing.T) {
	s := history(t)
	c := &chain.Suspend{ID: s.World.Alice.ID}
	for version, ok := range map[uint64]bool{
		0: false, 2: false, 3: false, 4: true, 5: true, 3 + chain.MaxAttempts: true, 4 + chain.MaxAttempts: false,
	} {
		next, err := s.Amend(version, c, 9, now)
		if ok && (err != nil || next.Version() != version) {
			t.Fatalf("version %d: %v", version, err)
		}
		if !ok && cypherlink.ErrorCode(err) != chain.CodeChangeVersion {
			t.Fatalf("version %d: %v", version, err)
		}
	}
}

// Those who can change the registry cannot leave it without enough of them.
func TestTheLastAuthorities(t *testing.T) {
	s := newScheme(t)
	a, b := s.Authorities().Member(0).ID, s.Authorities().Member(1).ID
	s.amend(t, 1, &chain.Suspend{ID: a})
	if s.Authorities().Len() != 2 {
		t.Fatal("a suspended authority counts")
	}
	for _, c := range []chain.Change{&chain.Suspend{ID: b}, &chain.Revoke{ID: b}} {
		if _, err := s.Amend(2, c, 1, now); cypherlink.ErrorCode(err) != chain.CodeChangeAuthorities {
			t.Fatalf("%T: %v", c, err)
		}
	}
	s.amend(t, 2, &chain.Revoke{ID: a})
	s.amend(t, 3, newcomer(t, "authority 4", chain.RoleAuthority))
	s.amend(t, 4, &chain.Revoke{ID: b})
	old := s.Authorities()
	s.amend(t, 5, &chain.Suspend{ID: s.World.Alice.ID})
	if s.Authorities() != old {
		t.Fatal("the roster is made anew although nobody of it has changed")
	}
	id := old.Member(0).ID
	s.amend(t, 6, rotation(t, id, "an authority's new keys"))
	if i, ok := s.Authorities().Index(id); !ok || s.Authorities().Member(i).Key == old.Member(0).Key {
		t.Fatal("an authority's new key is not in the roster")
	}
}

// A2: a key that is chosen against another one's, xG - pk, lets its owner sign for both, were it
// not for the proof of possession: what x proves is another key.
func TestARogueKeyDoesNotEnter(t *testing.T) {
	s := newScheme(t)
	victim := s.record(s.World.Bob.ID).Key.Bytes()
	pk, rogue, x := new(bls.G2), new(bls.G2), scalar(1234)
	if err := pk.SetBytes(victim[:]); err != nil {
		t.Fatal(err)
	}
	pk.Neg()
	rogue.ScalarMult(x, bls.G2Generator())
	rogue.Add(rogue, pk)
	c := newcomer(t, "rogue", chain.RoleBank)
	c.Key, c.Possession = parsed(t, rogue), possessionBy(rogue, x)
	if _, err := s.Amend(1, c, 1, now); cypherlink.ErrorCode(err) != chain.CodeChangePossession {
		t.Fatal(err)
	}
}

// A3: two keys that cancel out, each with a good proof of possession, are not both registered:
// not by one, not by two, not after the first has gone.
func TestAKeyAndItsNegation(t *testing.T) {
	plus, minus := newcomer(t, "plus", chain.RoleBank), newcomer(t, "minus", chain.RoleBank)
	plus.Key, plus.Possession = scalarKey(t, 77)
	minus.Key, minus.Possession = scalarKey(t, -77)
	s := newScheme(t)
	if _, err := s.Amend(1, minus, 1, now); err != nil {
		t.Fatalf("alone it is good: %v", err)
	}
	s.amend(t, 1, plus)
	refused := func(c chain.Change) {
		t.Helper()
		if _, err := s.Amend(s.Version()+1, c, 1, now); cypherlink.ErrorCode(err) != chain.CodeChangeUsed {
			t.Fatal(err)
		}
	}
	refused(minus)
	own := &chain.Rotate{ID: plus.ID, KeySet: plus.KeySet}
	own.Key, own.Possession = minus.Key, minus.Possession
	refused(own)
	other := rotation(t, s.World.Bob.ID, "bob, again")
	other.Key, other.Possession = minus.Key, minus.Possession
	refused(other)
	s.amend(t, 2, rotation(t, plus.ID, "plus, again"))
	refused(minus)
	s.amend(t, 3, &chain.Revoke{ID: plus.ID})
	refused(minus)
}

func TestTooManyKeys(t *testing.T) {
	s := newScheme(t)
	c := &chain.Rotate{ID: s.World.Alice.ID, KeySet: s.record(s.World.Alice.ID).KeySet}
	for i := range chain.MaxFormer {
		c.TLS = cypherlink.Hash{1, byte(i)}
		s.amend(t, uint64(i), c)
	}
	rec := encoded(s.record(s.World.Alice.ID))
	if len(rec) > 48<<10 {
		t.Fatalf("a record has %d bytes", len(rec))
	}
	c.TLS = cypherlink.Hash{2}
	if _, err := s.Amend(s.Version()+1, c, 1, now); cypherlink.ErrorCode(err) != chain.CodeChangeFull {
		t.Fatal(err)
	}
}

func TestTheRegistryIsBounded(t *testing.T) {
	s := newScheme(t)
	var records []chain.Record
	for _, rec := range s.Records() {
		records = append(records, *rec)
	}
	for i := len(records); i < chain.MaxParticipants; i++ {
		p := *s.record(s.World.Alice.ID) // whose keys they are does not matter here
		p.ID, p.BIC = cypherlink.ParticipantID{1, byte(i >> 8), byte(i)}, cypherlink.BIC{}
		records = append(records, p)
	}
	r, err := s.Genesis.Restore(0, records, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newcomer(t, "one more", chain.RoleBank)
	if _, err := r.Amend(1, c, 1, now); cypherlink.ErrorCode(err) != chain.CodeChangeFull {
		t.Fatal(err)
	}
	if r, err = s.Genesis.Restore(0, records[:len(records)-1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Amend(1, c, 1, now); err != nil {
		t.Fatal(err)
	}
}

// changes are one of each kind.
func changes(t testing.TB, s *scheme) []chain.Change {
	bank := newcomer(t, "a new bank", chain.RoleBank)
	bank.From, bank.Until = 5, now+7
	return []chain.Change{
		bank, rotation(t, s.World.Alice.ID, "alice, one"), &chain.Suspend{ID: s.World.Alice.ID},
		&chain.Resume{ID: s.World.Alice.ID}, &chain.Revoke{ID: s.World.Alice.ID},
		&chain.SetPolicy{Asset: s.World.Asset, Policy: validator.Policy{
			Threshold: 1, RuleSet: cypherlink.Hash{1}, Validators: []cypherlink.ParticipantID{{1}, {2}},
		}},
	}
}

func TestChangesKeepTheirForm(t *testing.T) {
	s := newScheme(t)
	seen := map[cypherlink.Hash]bool{}
	for _, c := range changes(t, s) {
		certified := s.Change(t, s.Registry, c)
		raw := certified.Encode()
		again, err := chain.DecodeChange(raw)
		if err != nil || !bytes.Equal(again.Encode(), raw) || again.Hash() != certified.Hash() ||
			fmt.Sprintf("%T", again.Change) != fmt.Sprintf("%T", c) || again.Change.Subject() != c.Subject() {
			t.Fatalf("%T: %v", c, err)
		}
		if err := s.Authenticate(again); err != nil {
			t.Fatal(err)
		}
		if seen[certified.Hash()] {
			t.Fatalf("%T is named as another one", c)
		}
		seen[certified.Hash()] = true
		for n := range raw {
			if _, err := chain.DecodeChange(raw[:n]); !errors.Is(err, chain.ErrChange) {
				t.Fatalf("%T cut to %d bytes: %v", c, n, err)
			}
		}
	}
}

func TestRecordsHaveAStatus(t *testing.T) {
	s := history(t)
	for status := range ledger.Status(6) {
		rec := *s.record(s.World.Alice.ID)
		rec.Status = status
		_, err := decoded(encoded(&rec), chain.ReadRecord)
		if good := status >= ledger.Active && status <= ledger.Revoked; (err == nil) != good {
			t.Fatalf("%s: %v", status, err)
		}
	}
}

func FuzzDecodeChange(f *testing.F) {
	s := history(f)
	for _, c := range changes(f, s) {
		f.Add(s.Change(f, s.Registry, c).Encode())
	}
	for _, rec := range s.Records() {
		f.Add(encoded(rec))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := chain.DecodeChange(b)
		switch {
		case err != nil && !errors.Is(err, chain.ErrChange):
			t.Fatal(err)
		case err == nil && !bytes.Equal(c.Encode(), b):
			t.Fatalf("%x encodes to %x", b, c.Encode())
		}
		if rec, err := decoded(b, chain.ReadRecord); err == nil && !bytes.Equal(encoded(&rec), b) {
			t.Fatalf("%x encodes to %x", b, encoded(&rec))
		}
	})
}

// Whatever is asked for, in whatever order: nobody has a key that anybody ever had, whoever is
// revoked stays so, keys of the past stay what they were, and enough authorities are left.
func TestRegistryInvariants(t *testing.T) {
	base := newScheme(t)
	deck := newDeck(t)
	rapid.Check(t, func(t *rapid.T) {
		s := &scheme{base.Network, base.Registry}
		owners := map[string]cypherlink.ParticipantID{}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			old := s.Registry
			next, err := old.Amend(old.Version()+1, deck.draw(t, s), old.Version()+1, now)
			if err != nil {
				if code := cypherlink.ErrorCode(err); !strings.HasPrefix(string(code), "registry_") {
					t.Fatal(err)
				}
				continue
			}
			s.Registry = next
			for _, was := range old.Records() {
				checkSuccessor(t, was, s.record(was.ID))
			}
		}
		for _, rec := range s.Records() {
			sets := []chain.KeySet{rec.KeySet}
			for _, f := range rec.Former {
				sets = append(sets, f.KeySet)
			}
			for _, k := range sets {
				x := k.Key.Bytes()
				x[0] &= 0x1f
				for _, key := range []string{"i" + string(k.Identity[:]), "x" + string(x[:]), "t" + string(k.TLS[:])} {
					if owner, ok := owners[key]; ok && owner != rec.ID {
						t.Fatalf("%s and %s share a key", owner, rec.ID)
					}
					owners[key] = rec.ID
				}
			}
		}
		if s.Authorities().Len() < chaintest.AuthorityQuorum {
			t.Fatal("nobody can change the registry any more")
		}
	})
}

// checkSuccessor holds what a participant became against what it was.
func checkSuccessor(t *rapid.T, was, is *chain.Record) {
	if is == nil || was.Status == ledger.Revoked && is.Status != ledger.Revoked || was.ID != is.ID ||
		was.BIC != is.BIC || was.Role != is.Role || was.Role == chain.RoleMember && was.Status != is.Status {
		t.Fatalf("%+v became %+v", was, is)
	}
	for height := range was.Since + 1 {
		a, knew := was.KeysAt(height)
		if b, knows := is.KeysAt(height); knew != knows || a != b {
			t.Fatalf("the keys of %s at height %d have changed", was.ID, height)
		}
	}
}

// deck is what changes are drawn from: few participants and keys, so that they meet.
type deck struct {
	enters []chain.Participant
	keys   []chain.KeySet
}

func newDeck(t testing.TB) deck {
	var d deck
	for _, name := range []string{"one", "two", "three"} {
		for _, role := range []chain.Role{chain.RoleBank, chain.RoleAuthority, chain.RoleMember} {
			d.enters = append(d.enters, newcomer(t, name, role).Participant)
		}
		d.keys = append(d.keys, d.enters[len(d.enters)-1].KeySet)
	}
	return d
}

func (d deck) draw(t *rapid.T, s *scheme) chain.Change {
	all := s.Records()
	id := rapid.SampledFrom(all).Draw(t, "who").ID
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return &chain.Register{Participant: rapid.SampledFrom(d.enters).Draw(t, "enters")}
	case 1:
		k := rapid.SampledFrom(d.keys).Draw(t, "keys")
		if rapid.Bool().Draw(t, "mixed") {
			k.TLS = rapid.SampledFrom(all).Draw(t, "whose").TLS
		}
		return &chain.Rotate{ID: id, KeySet: k}
	case 2:
		return &chain.Suspend{ID: id}
	case 3:
		return &chain.Resume{ID: id}
	case 4:
		return &chain.Revoke{ID: id}
	default:
		return &chain.SetPolicy{Asset: s.World.Asset, Policy: validator.Policy{
			Threshold: 1, RuleSet: cypherlink.Hash{5}, Validators: []cypherlink.ParticipantID{id},
		}}
	}
}
