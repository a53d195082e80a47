package tap

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// facts are one of each kind and variant, but custodies, by the schema of their fields.
func facts(t *testing.T) map[string][]state.Fact {
	t.Helper()
	id := cypherlink.ParticipantID{1}
	asset := cypherlink.Asset{Ledger: "chain", Code: "EUR", Scale: 2}
	bic, err := cypherlink.ParseBIC("BANKDEAA")
	if err != nil {
		t.Fatal(err)
	}
	bank := &chain.Register{Participant: chain.Participant{ID: id, Name: "Bank", Role: chain.RoleBank, BIC: bic}}
	c := channels.Channel{
		ID: channels.ID{1}, Asset: asset, State: channels.Closing, Funds: [2]int64{-5, 1_000},
		Banks: [2]cypherlink.ParticipantID{{1}, {2}},
	}
	c.Lanes[0].Challenge.Seq = math.MaxUint32
	c.Lanes[1].Head = channels.Head{Seq: 4, Paid: 700, Locked: 1}
	passed := state.Passed{ID: ledger.CrossingID{1}, Crossing: ledger.Crossing{
		Owner: id, Asset: asset, To: math.MaxUint32 - 1, Amount: 5, Expiry: 1_800_000_000, Nonce: math.MaxUint64,
	}}
	var registry []state.Fact
	for i, change := range []chain.Change{
		bank, &chain.Rotate{ID: id}, &chain.Suspend{ID: id}, &chain.Resume{ID: id}, &chain.Revoke{ID: id},
		&chain.SetPolicy{Asset: asset, Policy: validator.Policy{
			Threshold: 1, Validators: []cypherlink.ParticipantID{{3}},
		}},
	} {
		registry = append(registry, state.RegistryFact{Version: uint64(i) + 1, Change: change})
	}
	return map[string][]state.Fact{
		"Registry": registry,
		"Crossing": {state.CreditFact{Passed: passed}, state.BurnFact{Passed: passed}},
		"Channel":  {state.ChannelFact{By: id, Channel: c}, state.ChannelFact{Channel: c}},
		"Reveal":   {state.RevealFact{Preimage: cypherlink.Preimage{1}}},
	}
}

func TestEveryFactIsDescribed(t *testing.T) {
	d := theDocument(t, openapi)
	kinds := map[string]bool{}
	for schema, all := range facts(t) {
		for _, fact := range all {
			kind, fields := render(&state.Event{Fact: fact})
			kinds[kind] = true
			raw, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			if err := d.holds(kind, d.at("components", "schemas", schema), v); err != nil {
				t.Errorf("%T as %s: %v", fact, raw, err)
			}
		}
	}
	for _, kind := range d.at("components", "schemas", "Record", "properties", "kind")["enum"].([]any) {
		if !kinds[kind.(string)] && kind != "custody" {
			t.Errorf("no fact is of kind %v", kind)
		}
	}
}

func TestAChannelIsToldWithItsBalances(t *testing.T) {
	f := facts(t)["Channel"][0].(state.ChannelFact)
	got := channelFields(f)
	if got.Balances != [2]string{"6.95", "2.99"} || got.Lanes[1].Paid != "7.00" || got.State != "CLOSING" {
		t.Fatalf("%+v", got)
	}
}
