// Package member is a member of the committee as a process: one folder, one address, one loop.
//
// Its noun is the Member. It runs the consensus of chain/bft over the state of chain/state,
// speaks with the other members over one protocol and serves every participant of the network
// over another (chain/follow): it takes transactions and hands out final blocks with their
// proofs. One goroutine owns replica, safety record, state and pool, and does what a step
// asks for in its order: make durable, sign, tell, apply.
//
// What it promises:
//
//   - It signs nothing that its safety record does not hold durably, and starts as an observer,
//     which follows and signs nothing, whenever it is not sure of that record (I1 to I6).
//   - It announces nothing that is not final and durable (I4). When the store or the safety
//     record cannot be written, it stops: a new start finds out what is durable.
//   - What it holds for others is counted: transactions, bytes, calls, connections, messages.
//
// It refuses to decide (chain/bft, chain/state) and to prove (chain). Sources: the design of
// CypherBFT, rules I1 to I6 and "Transactions".
package member
