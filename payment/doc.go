// Package payment is Cypherium Connect: a payment from instruction to completion, and the talk
// between two banks' Connects.
//
// Its noun is the Payment: what a customer's bank was told to pay, and where that stands, as an
// append-only log of events whose fold is its state. Three machines, each for one payment: the
// paying bank's (Outgoing) asks the payee's bank for an address, the connector for a quote, both
// for their signatures on the terms, the Validators for their verdicts, and then lets package
// connector move the money; the paid bank's (Incoming) answers; the connector's (Offer) gives a
// quote once. An Endorser is a Validator's side of channels: it signs what rule V lets it sign of a
// lane. Every question of theirs may be repeated, and every answer stays what it was. At
// the end stands a Proof (receipt.json): what was agreed, who signed it, and what became final,
// for anybody to verify offline who holds the network's genesis file.
//
// It refuses to cancel once the source custody may come to be: from then on only the ledgers'
// final word ends a payment, and it is called undone only when both custodies are. It refuses to
// pay one UETR twice, to call anything agreed, approved or settled that it has not verified, and
// to tell a peer what it has not stored. Machines know no clock, network or store; the shells
// Connect (a bank), Clearing (a connector) and Endorser (a Validator) do. Sources: Cypherium
// Whitepaper 2.0, main job; ISO 20022; ILP RFC 22; the banking reference's lifecycle.
package payment
