// Package rules is how a Cypherium Validator comes to its verdict.
//
// Its noun is the Set: rules in CEL, in one canonical JSON file, whose hash (with the version
// of the language) stands in the asset's policy and in every verdict. A rule is a boolean
// expression over the Inputs of one leg: amounts in minor units, codes, BICs, countries,
// seconds to the expiry, the KYC fields that were told, and how near the parties' names come
// to a list. The first rule that is not true decides, by its own outcome and ISO reason. What
// cannot be evaluated, an overflow, a field that was not told, a cost beyond the limit, is a
// rejection, never an approval.
//
// A Judge is one Validator's machine for one asset: it opens a Request (are the terms proved,
// is the leg ours, are the told fields those that the terms commit to), decides it by its Set
// and gives a Ruling, the verdict with what it was based on. Anybody who is shown the ruling
// and the set can come to it again: Recheck.
//
// The language has no clock, no chance, no float, no loop over anything but a list in the
// rule itself, and no variable that is not declared here; every expression's cost is bounded
// before it runs. The package refuses to sign, to store, to look anything up: the shell of
// the process does, and brings what it found through the ports.
//
// Sources: Cypherium Whitepaper 2.0, "Cypherium Validator"; the Common Expression Language
// (cel.dev); ISO 20022 ExternalStatusReason.
package rules
