// Package bft is CypherBFT, the consensus of the committee chain: chained HotStuff with the
// voting and timeout rules of Jolteon and DiemBFT v4.
//
// Its noun is the replica, one member's view of an epoch. A leader proposes a block on the
// highest QC; members vote; a quorum of votes is a QC, which certifies the block and moves
// everybody to the next view; D certified blocks of consecutive views make the first of them
// final. A term without progress ends by a quorum of timeouts, a TC. One voting rule serves
// D = 2 (the whitepaper's two-phase mode) and D = 3 (its three-phase mode).
//
// The replica is pure. Its host has one loop:
//
//	in := Tick{}
//	for {
//		effects, err := replica.Step(now(), in) // an error: stop, this member is broken
//		// 1. both at once, and wait for both:
//		store.PutSynced(effects.Persist.Blocks)
//		safety.Save(effects.Persist)
//		// 2. sign what is durable now; each result is an input
//		for _, intent := range effects.Sign {
//			own, err := safety.Sign(intent)
//			inputs.Push(own)
//		}
//		// 3. tell
//		for _, s := range effects.Send { network.Send(s.To, Encode(epoch, s.Message)) }
//		// 4. one synced batch a block: block, proof, state, height, safety.Sequence()
//		for _, f := range effects.Apply { store.Apply(f) }
//		// 5. wait for a message, a timer at effects.WakeAt, or a change of the pool
//		in = inputs.Pop()
//	}
//
// The rules carry the names of docs: V0 to V2 for votes, I1 to I6 for the safety record, M1
// to M8 for membership. Everything that signs goes through Safety, which checks V1, V2 and
// the timeout rule against its own durable record again.
//
// The package refuses to know what it orders, and it holds no key, clock, file or socket.
// Sources: HotStuff (PODC 2019), Jolteon (arXiv 2106.10362), DiemBFT v4.
package bft
