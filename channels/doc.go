// Package channels is the two-way bank channel: two lanes, each written by the bank that pays in
// it, over funds that the committee chain keeps.
//
// Its noun is the Channel: what the chain knows of one pair of banks and one asset. Channel.Apply
// has the chain's rules (T0 to T9); Party is one bank's side of it, the lane rules L1 to L10 and
// H1 to H6 and the resynchronisation, as a machine: Step takes an input and says what to persist,
// send, submit and tell. Channel.Endorse and Channel.Cosign are what a Validator signs (V). The
// rules' letters are those of the design page, and a refusal names the rule that refused (Rule). The
// package refuses to sign, to keep anything, to know a clock, and to decide what a payment is for.
//
// A signed update is an option that the chain alone can extinguish: nothing that has been signed
// is ever taken back off chain.
// Source: Cypherium Whitepaper 2.0, two-way channels; BOLT 2 and 5 and Perun for what to leave out.
package channels
