package validator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/validator"
)

// registry maps participants to keys.
type registry map[cypherlink.ParticipantID][32]byte

func (r registry) Key(id cypherlink.ParticipantID) ([32]byte, bool) {
	key, ok := r[id]
	return key, ok
}

func validators(n int) (actors []actor, ids []cypherlink.ParticipantID, keys registry) {
	keys = registry{}
	for i := range n {
		a := newActor("validator " + string(rune('a'+i)))
		actors, ids, keys[a.id] = append(actors, a), append(ids, a.id), a.key
	}
	return actors, ids, keys
}

func TestPolicyValid(t *testing.T) {
	_, ids, _ := validators(17)
	tests := []struct {
		name   string
		policy validator.Policy
		ok     bool
	}{
		{"nobody is asked", validator.Policy{}, true},
		{"one of one", validator.Policy{Threshold: 1, Validators: ids[:1]}, true},
		{"sixteen of sixteen", validator.Policy{Threshold: 16, Validators: ids[:16]}, true},
		{"seventeen validators", validator.Policy{Threshold: 1, Validators: ids}, false},
		{"more than there are", validator.Policy{Threshold: 3, Validators: ids[:2]}, false},
		{"one of nobody", validator.Policy{Threshold: 1}, false},
		{"none of two", validator.Policy{Threshold: 0, Validators: ids[:2]}, false},
		{"fewer than none", validator.Policy{Threshold: -1}, false},
		{"one stands twice", validator.Policy{
			Threshold: 1, Validators: []cypherlink.ParticipantID{ids[0], ids[1], ids[0]},
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.policy.Valid()
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, validator.ErrPolicy) {
				t.Fatalf("%v, want ok %v", err, tt.ok)
			}
			if tt.ok {
				return
			}
			err = tt.policy.Check(network(), subject(), nil, registry{}, cosi.VerifyEd25519Batch, now)
			if !errors.Is(err, validator.ErrPolicy) {
				t.Fatalf("such a policy approves: %v", err)
			}
		})
	}
}

func TestPolicyCheck(t *testing.T) {
	actors, ids, keys := validators(3)
	mallory := newActor("mallory")
	twoOfThree := validator.Policy{Threshold: 2, Validators: ids, RuleSet: ruleSet()}
	one, two := actors[0].sign(network(), approval()), actors[1].sign(network(), approval())
	changed := func(edit func(*validator.Verdict)) validator.Signed {
		v := approval()
		edit(&v)
		return actors[1].sign(network(), v)
	}
	forged := two
	forged.Signature[10]++
	impostor := mallory.sign(network(), approval())
	impostor.Validator = ids[1]
	type list = []validator.Signed
	rejected := changed(func(v *validator.Verdict) { v.Outcome, v.Reason = validator.Rejected, "RR04" })
	held := changed(func(v *validator.Verdict) { v.Outcome, v.Reason = validator.Held, "FR01" })
	otherRules := changed(func(v *validator.Verdict) { v.RuleSet[0]++ })
	elsewhere := actors[1].sign(cypherlink.NetworkID{9}, approval())
	tooMany := list{one, two, actors[2].sign(network(), approval()), one}
	type test struct {
		name     string
		verdicts list
		at       int64
		reason   string // a part of the error, or empty for an approval
	}
	tests := []test{
		{"two approve", list{one, two}, now, ""},
		{"all approve", list{one, two, actors[2].sign(network(), approval())}, now, ""},
		{"a bad verdict among enough good ones", list{forged, one, two}, now, ""},
		{"in the last valid second", list{one, two}, validUntil - 1, ""},
		{"when the time is up", list{one, two}, validUntil, "valid until"},
		{"nobody", nil, now, "0 of 2"},
		{"one", list{one}, now, "1 of 2"},
		{"one, twice", list{one, one}, now, "1 of 2"},
		{"a wrong signature", list{one, forged}, now, ids[1].String()},
		{"mallory in a validator's name", list{one, impostor}, now, ids[1].String()},
		{"mallory in her own name", list{one, mallory.sign(network(), approval())}, now, "not a validator"},
		{"signed for another network", list{one, elsewhere}, now, ids[1].String()},
		{"a rejection", list{one, rejected}, now, "RR04"},
		{"a hold", list{one, held}, now, "FR01"},
		{"by another rule set", list{one, otherRules}, now, "rule set"},
		{"more verdicts than there are validators", tooMany, now, "4 verdicts, at most 3"},
	}
	for name, edit := range subjectEdits() {
		different := changed(func(v *validator.Verdict) { edit(&v.Subject) })
		tests = append(tests, test{"another " + name, list{one, different}, now, "another payment's"})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := twoOfThree.Check(network(), subject(), tt.verdicts, keys, cosi.VerifyEd25519Batch, tt.at)
			switch {
			case tt.reason == "" && err != nil:
				t.Fatal(err)
			case tt.reason == "":
			case !errors.Is(err, validator.ErrNotApproved):
				t.Fatalf("%v, want ErrNotApproved", err)
			case !strings.Contains(err.Error(), tt.reason):
				t.Fatalf("%v does not tell %q", err, tt.reason)
			}
		})
	}
	t.Run("a validator whose key is revoked", func(t *testing.T) {
		revoked := registry{ids[0]: keys[ids[0]], ids[2]: keys[ids[2]]}
		err := twoOfThree.Check(network(), subject(), list{one, two}, revoked, cosi.VerifyEd25519Batch, now)
		if !errors.Is(err, validator.ErrNotApproved) || !strings.Contains(err.Error(), "no key") {
			t.Fatal(err)
		}
	})
	t.Run("an asset that asks nobody", func(t *testing.T) {
		if err := (validator.Policy{}).Check(network(), subject(), nil, keys, cosi.VerifyEd25519Batch, now); err != nil {
			t.Fatal(err)
		}
	})
}

// Approval is exactly: at least Threshold distinct validators of the policy whose verdict is
// good, in whatever order and among whatever else, but of no more verdicts than validators. And
// Check verifies no signature that Signatures does not foresee.
func TestPolicyCountsDistinctGoodVerdicts(t *testing.T) {
	actors, ids, keys := validators(5)
	mallory := newActor("mallory")
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "n")
		policy := validator.Policy{
			Threshold:  rapid.IntRange(1, n).Draw(t, "k"),
			Validators: ids[:n], RuleSet: ruleSet(),
		}
		good := map[int]bool{}
		var verdicts []validator.Signed
		for range rapid.IntRange(0, n+1).Draw(t, "verdicts") {
			i := rapid.IntRange(0, 4).Draw(t, "who")
			v := approval()
			switch rapid.IntRange(0, 4).Draw(t, "how") {
			case 0, 1:
				good[i] = good[i] || i < n
				verdicts = append(verdicts, actors[i].sign(network(), v))
			case 2:
				v.Subject.Fields.Amount++
				verdicts = append(verdicts, actors[i].sign(network(), v))
			case 3:
				s := mallory.sign(network(), v)
				s.Validator = ids[i]
				verdicts = append(verdicts, s)
			case 4:
				v.Outcome, v.Reason = validator.Rejected, "RR04"
				verdicts = append(verdicts, actors[i].sign(network(), v))
			}
		}
		count := 0
		for _, ok := range good {
			if ok {
				count++
			}
		}
		foreseen := policy.Signatures(network(), subject(), verdicts, keys)
		verify := func(batch []cosi.IdentitySignature) []int {
			if len(batch) != 1 || !slices.Contains(foreseen, batch[0]) {
				t.Fatalf("verifies %+v, which is not foreseen", batch)
			}
			return cosi.VerifyEd25519Batch(batch)
		}
		err := policy.Check(network(), subject(), verdicts, keys, verify, now)
		if (err == nil) != (count >= policy.Threshold && len(verdicts) <= n) {
			t.Fatalf("%d good of %d asked: %v", count, policy.Threshold, err)
		}
	})
}
