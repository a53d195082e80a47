// Package cypherlink holds the words that every part of the gateway shares.
//
// Its noun is the value that has one meaning everywhere: an amount of an asset, an account,
// a condition and its preimage, the identifiers of banks and payments, a hash, an error with
// a stable code. Each is comparable, checked when it is made, and has one text form and one
// canonical byte form (internal/wire). The package refuses to do anything with them: no
// ledger, no network, no clock. Sources: ISO 4217, ISO 9362, ISO 13616, RFC 9562, ILP RFC 27.
package cypherlink
