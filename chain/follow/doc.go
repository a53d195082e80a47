// Package follow is how everybody but the committee knows the chain.
//
// Its noun is the Follower: a bank's, a regulator's or an auditor's own copy of the state. It
// asks members for final blocks, verifies that the committee made them final, executes every
// one again, compares the roots, and only then yields what happened, in order. So it calls
// nothing final that it has not verified itself, whatever a member says; a member that says
// what is not so is dropped and reported. What the follower tells is a ledger.Receipt with
// Evidence: enough for anybody who holds the genesis to check it offline, by Verifier.
//
// The package also has the messages that members and participants speak. It refuses to vote,
// to sign, to submit (chain/submit) and to decide what is valid (chain/state).
// Source: Cypherium Whitepaper 2.0, client and common nodes.
package follow
