// Package peer carries frames between processes over mutual TLS 1.3.
//
// Its noun is the peer: another process, known by the SHA-256 of its certificate's public
// key (SPKI) and by nothing else; names, certificate authorities and expiry dates play no
// part. A Listener offers services, each a protocol that ALPN names, with its own set of
// accepted peers and its own limits. A Client keeps one connection to one peer for one
// protocol, dials again whenever it is lost, and does two things on it:
//
//   - Send puts a one-way message into a bounded queue of its class and returns; delivery is
//     in order within a class, and best effort.
//   - Call sends a request and waits for its answer.
//
// So a mesh of n members is n-1 Clients and a Listener in each.
//
// It keeps these promises:
//
//	P1  a frame reaches a handler only from a peer that the service accepts, at this moment
//	P2  no peer makes this process hold more than it was allowed: frames are measured before
//	    memory is taken for them, and calls, connections and queues are counted
//	P3  a peer that is silent or slow is dropped in bounded time
//	P4  Close leaves no goroutine behind
//
// It refuses to know what a frame means. Sources: RFC 8446 (TLS 1.3), RFC 7301 (ALPN),
// RFC 7469 section 2.4 (SPKI fingerprints).
package peer
