// Package ledgertest is the published contract of ledger.Ledger as tests.
//
// Its noun is the Harness: one ledger, with a hand on its clock and an eye on its balances.
// Run drives a fresh one through every clause of the contract; every implementation passes
// it. The package also has what such tests are made of: World, the participants with their
// keys and the commands they sign, and Memory, a double-entry book in memory that serves the
// rules' own tests as reference. It refuses to know what kind of ledger it tests.
// Source: the doc comments of package ledger.
package ledgertest
