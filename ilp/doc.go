// Package ilp is the Interledger packet: what travels, unread and unchanged, from the payer's
// bank over a connector to the payee's bank, and what only these two banks can read in it.
//
// Its noun is the packet (ILPv4: Prepare, Fulfill, Reject). Around it stand the address, the
// error codes, the rules by which a connector forwards it, and STREAM: the keys that two banks
// derive from a shared secret, the encrypted envelope that is the packet's data, and the
// preimage and condition that follow from secret and envelope.
//
// Everything is pure: time and randomness are arguments. Every decoder is strict: one value,
// one encoding, no trailing bytes, bounds before allocation. The package refuses to hold
// balances, routes or connections, and to print a secret. Peers may be laxer: what npm's
// ilp-packet takes and we refuse is in the tests.
//
// Sources: Interledger RFCs 15 (addresses), 27 (ILPv4), 29 (STREAM), 30 (OER), 31 (ILDCP).
package ilp
