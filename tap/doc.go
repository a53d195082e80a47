// Package tap is the regulators' view of the chain: every final event, in order, with what proves
// it, over HTTP and for reading alone.
//
// Its noun is the Record: an event of the feed with its number there, what it says in JSON, the
// canonical bytes of which that is a rendering, and the proof that they stand under that number of
// the feed that the committee made final. A reader who holds the genesis alone checks all of it;
// Check is such a reader, which names what was dropped, edited, reordered or repeated, and keeps
// what it has checked as a Checkpoint, so that the feed only ever grows. Heads tell how far the
// chain has come: the committee makes a block each second, so the age of the newest head is the
// alarm for a feed that stands still.
//
// The package refuses every method but GET, to sign, to submit, to keep anything of its own and to
// serve without a client certificate that was verified. It believes no member: its Feed is a
// follower that has verified and executed every block itself. What a reader is too slow to take is
// not kept for him: he is dropped, and resumes after the last number that he has.
//
// Sources: RFC 6962 (the log), RFC 9110 and 9457 (HTTP, problems), the HTML standard's
// server-sent events; reference page cosi-channels, section 5 and attacks T1 to T4.
package tap
