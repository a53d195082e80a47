// Package laneledger is a bank's channels as a ledger.Ledger.
//
// Its noun is the Ledger: one bank's end of its channels. A custody on it is a hash lock in a lane, under
// the custody's own id: a Prepare is the Lock, a Confirm is its preimage, which leads to a Settle or to a
// Reveal on the chain, a Return is the payee's consent to unlock, or the expiry. The rules are those of
// ledger.Charter, judged at both ends; what is final the bank's teller tells, by the H rules. Debit and
// credit account of every leg are the two banks' accounts of ledger.ChannelNumber: that tells a lock from a
// custody on the chain, whose ledger this one shares the id with. It refuses to speak for the other bank:
// each end has its own events, and a receipt is the word of the bank at whose end it was told, with the
// lane's certificate.
// Source: the design of channels, "Hash locks in a lane"; the contract of package ledger.
package laneledger
