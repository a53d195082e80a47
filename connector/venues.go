package connector

import (
	"iter"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// Venues are where an institution's legs move: on ledgers, and in channels.
type Venues struct {
	// Ledgers are those that the institution reaches, by their ids.
	Ledgers map[cypherlink.LedgerID]ledger.Ledger
	// Lanes is its end of its own channels; nil if it has none.
	Lanes ledger.Ledger
	// Witness answers for the channels of its connector with others; nil if it has no connector.
	Witness ledger.Ledger
}

// Of is where a leg moves, as its accounts say, for that institution; nil if it does not reach that.
func (v *Venues) Of(self cypherlink.ParticipantID, leg *terms.Leg) ledger.Ledger {
	switch {
	case !ledger.InChannel(leg):
		return v.Ledgers[leg.Asset.Ledger]
	case leg.Debit.Owner == self || leg.Credit.Owner == self:
		return v.Lanes
	}
	return v.Witness
}

// lanesFeed names the events of channels among those of ledgers, whose ids have no such form.
const lanesFeed = "/lanes"

// Feeds are the venues that tell of events, by names under which to keep cursors.
func (v *Venues) Feeds() iter.Seq2[string, ledger.Ledger] {
	return func(yield func(string, ledger.Ledger) bool) {
		for id, l := range v.Ledgers {
			if !yield(string(id), l) {
				return
			}
		}
		if v.Lanes != nil {
			yield(lanesFeed, v.Lanes)
		}
	}
}
