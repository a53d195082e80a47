package payment

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// Channel is a channel as one of its two banks sees it.
type Channel struct {
	// Channels.Channel is what the chain has, in the block of Now.
	channels.Channel
	Now channels.Time
	// Own is the side of the bank that is asked.
	Own channels.Side
	// Lanes are this bank's own records of both.
	Lanes [2]LaneView
	// Free is what this bank can pay now, after the reserve and what is under way.
	Free cypherlink.Amount
	// Synced tells whether both banks have compared their records since this one started.
	Synced bool
	// slots is how many locks this bank can make now, beside those that are open.
	slots int
	// Alerts say in words what an operator should look at; none if all is well.
	Alerts []string
}

// LaneView is how far a lane has come, by sequence in its present generation.
type LaneView struct {
	Gen                                 uint32
	Written, Certified, Bound, Anchored uint32
	// Suspended tells whether nothing in it becomes bound now.
	Suspended bool
}

// Opening asks for a channel between the bank that is asked and Peer.
type Opening struct {
	Peer  cypherlink.ParticipantID
	Asset cypherlink.Asset
}

// Order is what a bank's operator wants of an open channel.
//
//sumtype:decl
type Order interface{ order() }

// The orders.
type (
	// FundOrder moves an amount from the bank's account on the chain into the channel.
	FundOrder struct{ Amount cypherlink.Amount }
	// ReleaseOrder moves an amount from the channel back into the bank's account, with the other
	// bank's consent.
	ReleaseOrder struct{ Amount cypherlink.Amount }
	// CloseOrder closes the channel: together with the other bank if it agrees, else alone.
	CloseOrder struct{}
)

func (FundOrder) order()    {}
func (ReleaseOrder) order() {}
func (CloseOrder) order()   {}
