package chain_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/validator"
)

// history is a registry in which Bob is suspended, Mallory revoked, and Alice has had keys before.
func history(t testing.TB) *scheme {
	t.Helper()
	s := newScheme(t)
	s.amend(t, 1, rotation(t, s.World.Alice.ID, "alice, one"))
	s.amend(t, 2, &chain.Suspend{ID: s.World.Bob.ID})
	s.amend(t, 3, &chain.Revoke{ID: s.World.Mallory.ID})
	return s
}

// enters is a bank that enters, but for what edit does to it.
func enters(edit func(s *scheme, c *chain.Register)) func(t *testing.T, s *scheme) chain.Change {
	return func(t *testing.T, s *scheme) chain.Change {
		c := newcomer(t, "a new bank", chain.RoleBank)
		edit(s, c)
		return c
	}
}

// turns gives the participant other keys, but for what edit does to them.
func turns(
	who func(s *scheme) cypherlink.ParticipantID, edit func(s *scheme, c *chain.Rotate),
) func(t *testing.T, s *scheme) chain.Change {
	return func(t *testing.T, s *scheme) chain.Change {
		c := rotation(t, who(s), "other keys")
		edit(s, c)
		return c
	}
}

// just is a change that depends on the scheme alone.
func just(change func(s *scheme) chain.Change) func(t *testing.T, s *scheme) chain.Change {
	return func(_ *testing.T, s *scheme) chain.Change { return change(s) }
}

func aliceOf(s *scheme) cypherlink.ParticipantID   { return s.World.Alice.ID }
func bobOf(s *scheme) cypherlink.ParticipantID     { return s.World.Bob.ID }
func malloryOf(s *scheme) cypherlink.ParticipantID { return s.World.Mallory.ID }

// of is the first participant of a role.
func (s *scheme) of(role chain.Role) cypherlink.ParticipantID {
	for _, rec := range s.Records() {
		if rec.Role == role {
			return rec.ID
		}
	}
	return cypherlink.ParticipantID{}
}

// record is what the registry holds of somebody, nil of a stranger.
func (s *scheme) record(id cypherlink.ParticipantID) *chain.Record {
	rec, _ := s.Participant(id)
	return rec
}

type refusedChange struct {
	name   string
	change func(t *testing.T, s *scheme) chain.Change
	code   cypherlink.Code
	says   string
}

func refuseAll(t *testing.T, tests []refusedChange) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := history(t)
			before := snapshot(s.Registry)
			_, err := s.Amend(s.Version()+1, tt.change(t, s), 9, now)
			if cypherlink.ErrorCode(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%v, want %s, %q", err, tt.code, tt.says)
			}
			if !bytes.Equal(snapshot(s.Registry), before) {
				t.Fatal("a refused change has changed the registry")
			}
		})
	}
}

func TestRegisterRefuses(t *testing.T) {
	refuseAll(t, []refusedChange{
		{"a member of the committee", enters(func(_ *scheme, c *chain.Register) {
			c.Role, c.BIC = chain.RoleMember, cypherlink.BIC{}
		}), chain.CodeChangeMember, "key blocks"},
		{"an unknown role", enters(func(_ *scheme, c *chain.Register) { c.Role = "king" }), chain.CodeChangeMalformed, "role"},
		{"no name", enters(func(_ *scheme, c *chain.Register) { c.Name = "" }), chain.CodeChangeMalformed, "name"},
		{"a bank without a BIC", enters(func(_ *scheme, c *chain.Register) {
			c.BIC = cypherlink.BIC{}
		}), chain.CodeChangeMalformed, "BIC"},
		{"a regulator with a BIC", enters(func(_ *scheme, c *chain.Register) {
			c.Role = chain.RoleRegulator
		}), chain.CodeChangeMalformed, "BIC"},
		{"no TLS key", enters(func(_ *scheme, c *chain.Register) { c.TLS = cypherlink.Hash{} }), chain.CodeChangeMalformed, "TLS"},
		{"an id of another key", enters(func(_ *scheme, c *chain.Register) { c.ID[0] ^= 1 }), chain.CodeChangeMalformed, "id"},
		{"a participant that is there", enters(func(s *scheme, c *chain.Register) {
			c.Identity = s.record(bobOf(s)).Identity
			c.ID = bobOf(s)
		}), chain.CodeChangeUsed, "identity"},
		{"an identity key of a revoked participant", enters(func(s *scheme, c *chain.Register) {
			c.Identity = s.record(malloryOf(s)).Identity
			c.ID = malloryOf(s)
		}), chain.CodeChangeUsed, "identity"},
		{"an identity key that another one has now", enters(func(s *scheme, c *chain.Register) {
			c.Identity = s.record(aliceOf(s)).Identity
			c.ID = cypherlink.NewParticipantID(c.Identity)
		}), chain.CodeChangeUsed, "identity"},
		{"an identity key that another one had", enters(func(s *scheme, c *chain.Register) {
			c.Identity = s.World.Alice.Key
			c.ID = cypherlink.NewParticipantID(c.Identity)
		}), chain.CodeChangeUsed, "identity"},
		{"another one's BIC", enters(func(s *scheme, c *chain.Register) {
			c.BIC = s.record(bobOf(s)).BIC
		}), chain.CodeChangeUsed, "BIC"},
		{"a revoked participant's BIC", enters(func(s *scheme, c *chain.Register) {
			c.BIC = s.record(malloryOf(s)).BIC
		}), chain.CodeChangeUsed, "BIC"},
		{"another one's TLS key", enters(func(s *scheme, c *chain.Register) {
			c.TLS = s.record(bobOf(s)).TLS
		}), chain.CodeChangeUsed, "TLS"},
		{"a TLS key that another one had", enters(func(s *scheme, c *chain.Register) {
			c.TLS = s.record(aliceOf(s)).Former[0].TLS
		}), chain.CodeChangeUsed, "TLS"},
		{"another one's cosigning key", enters(func(s *scheme, c *chain.Register) {
			c.Key, c.Possession = s.record(bobOf(s)).Key, s.record(bobOf(s)).Possession
		}), chain.CodeChangeUsed, "cosigning"},
		{"another one's proof of possession", enters(func(s *scheme, c *chain.Register) {
			c.Possession = s.record(bobOf(s)).Possession
		}), chain.CodeChangePossession, "possession"},
		{"a time before 1970", enters(func(_ *scheme, c *chain.Register) { c.From = -1 }), chain.CodeChangeMalformed, "time"},
		{"an end before 1970", enters(func(_ *scheme, c *chain.Register) { c.Until = -1 }), chain.CodeChangeMalformed, "time"},
		{"an end that has come", enters(func(_ *scheme, c *chain.Register) { c.Until = now }), chain.CodeChangeMalformed, "time"},
		{"an end at the beginning", enters(func(_ *scheme, c *chain.Register) {
			c.From, c.Until = now+9, now+9
		}), chain.CodeChangeMalformed, "time"},
		{"an authority from a time on", enters(func(_ *scheme, c *chain.Register) {
			c.Role, c.BIC, c.From = chain.RoleAuthority, cypherlink.BIC{}, now+9
		}), chain.CodeChangeMalformed, "authority"},
		{"an authority until a time", enters(func(_ *scheme, c *chain.Register) {
			c.Role, c.BIC, c.Until = chain.RoleAuthority, cypherlink.BIC{}, now+9
		}), chain.CodeChangeMalformed, "authority"},
	})
}

func TestOtherChangesRefuse(t *testing.T) {
	stranger := cypherlink.ParticipantID{9}
	policy := func(edit func(s *scheme, c *chain.SetPolicy)) func(*testing.T, *scheme) chain.Change {
		return just(func(s *scheme) chain.Change {
			c := &chain.SetPolicy{Asset: s.World.Asset, Policy: validator.Policy{
				Threshold: 1, RuleSet: cypherlink.Hash{5},
				Validators: []cypherlink.ParticipantID{s.World.Validators[0].ID},
			}}
			edit(s, c)
			return c
		})
	}
	refuseAll(t, []refusedChange{
		{"to rotate a stranger", turns(func(*scheme) cypherlink.ParticipantID { return stranger },
			func(*scheme, *chain.Rotate) {}), chain.CodeChangeUnknown, "participant"},
		{"to rotate a member", turns(func(s *scheme) cypherlink.ParticipantID { return s.of(chain.RoleMember) },
			func(*scheme, *chain.Rotate) {}), chain.CodeChangeMember, "key blocks"},
		{"to rotate who is revoked", turns(malloryOf, func(*scheme, *chain.Rotate) {}), chain.CodeChangeStatus, "revoked"},
		{"to rotate to the same keys", turns(aliceOf, func(s *scheme, c *chain.Rotate) {
			c.KeySet = s.record(aliceOf(s)).KeySet
		}), chain.CodeChangeMalformed, "no key changes"},
		{"to rotate to no TLS key", turns(aliceOf, func(_ *scheme, c *chain.Rotate) {
			c.TLS = cypherlink.Hash{}
		}), chain.CodeChangeMalformed, "TLS"},
		{"to rotate back", turns(aliceOf, func(s *scheme, c *chain.Rotate) {
			c.KeySet = s.record(aliceOf(s)).Former[0].KeySet
		}), chain.CodeChangeUsed, "identity"},
		{"to rotate to another one's identity key", turns(aliceOf, func(s *scheme, c *chain.Rotate) {
			c.Identity = s.record(bobOf(s)).Identity
		}), chain.CodeChangeUsed, "identity"},
		{"to rotate to another one's cosigning key", turns(aliceOf, func(s *scheme, c *chain.Rotate) {
			c.Key, c.Possession = s.record(bobOf(s)).Key, s.record(bobOf(s)).Possession
		}), chain.CodeChangeUsed, "cosigning"},
		{"to rotate to a revoked one's TLS key", turns(aliceOf, func(s *scheme, c *chain.Rotate) {
			c.TLS = s.record(malloryOf(s)).TLS
		}), chain.CodeChangeUsed, "TLS"},
		{"to rotate without possession", turns(aliceOf, func(s *scheme, c *chain.Rotate) {
			c.Possession = s.record(bobOf(s)).Possession
		}), chain.CodeChangePossession, "possession"},
		{"to keep a cosigning key with another proof", turns(aliceOf, func(s *scheme, c *chain.Rotate) {
			c.Key = s.record(aliceOf(s)).Key
		}), chain.CodeChangePossession, "proof"},
		{
			"to suspend a stranger", just(func(*scheme) chain.Change { return &chain.Suspend{ID: stranger} }),
			chain.CodeChangeUnknown, "participant",
		},
		{"to suspend a member", just(func(s *scheme) chain.Change {
			return &chain.Suspend{ID: s.of(chain.RoleMember)}
		}), chain.CodeChangeMember, "key blocks"},
		{
			"to suspend twice", just(func(s *scheme) chain.Change { return &chain.Suspend{ID: bobOf(s)} }),
			chain.CodeChangeStatus, "suspended",
		},
		{
			"to suspend who is revoked", just(func(s *scheme) chain.Change { return &chain.Suspend{ID: malloryOf(s)} }),
			chain.CodeChangeStatus, "revoked",
		},
		{
			"to resume who is active", just(func(s *scheme) chain.Change { return &chain.Resume{ID: aliceOf(s)} }),
			chain.CodeChangeStatus, "active",
		},
		{
			"to resume who is revoked", just(func(s *scheme) chain.Change { return &chain.Resume{ID: malloryOf(s)} }),
			chain.CodeChangeStatus, "for good",
		},
		{
			"to revoke twice", just(func(s *scheme) chain.Change { return &chain.Revoke{ID: malloryOf(s)} }),
			chain.CodeChangeStatus, "for good",
		},
		{
			"to revoke a member", just(func(s *scheme) chain.Change { return &chain.Revoke{ID: s.of(chain.RoleMember)} }),
			chain.CodeChangeMember, "key blocks",
		},
		{
			"a policy of no asset", policy(func(_ *scheme, c *chain.SetPolicy) { c.Asset.Code = "XXX" }),
			chain.CodeChangeUnknown, "asset",
		},
		{
			"a policy of 2 of 1", policy(func(_ *scheme, c *chain.SetPolicy) { c.Policy.Threshold = 2 }),
			chain.CodeChangeMalformed, "2 of 1",
		},
		{
			"a policy without a rule set", policy(func(_ *scheme, c *chain.SetPolicy) { c.Policy.RuleSet = cypherlink.Hash{} }),
			chain.CodeChangeMalformed, "rule set",
		},
		{"a policy that names a bank", policy(func(s *scheme, c *chain.SetPolicy) {
			c.Policy.Validators = []cypherlink.ParticipantID{aliceOf(s)}
		}), chain.CodeChangeMalformed, "no active validator"},
		{"a policy that names a stranger", policy(func(_ *scheme, c *chain.SetPolicy) {
			c.Policy.Validators = []cypherlink.ParticipantID{stranger}
		}), chain.CodeChangeMalformed, "no active validator"},
	})
}
