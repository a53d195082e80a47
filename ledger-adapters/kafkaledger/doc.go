// Package kafkaledger is a ledger behind Kafka: the gateway's side, and the operator's host.
//
// Its noun is the topic pair: gateways write signed commands into one topic, the Host applies
// them to a book of its own and writes what its operator signs into the other, and every
// Gateway reads all of that. Each topic has one partition, whose order is the order of things.
// A broker carries and keeps; it is never believed: what is not signed by whom it should be is
// counted and has no effect.
//
// It keeps these promises, which the tests quote:
//
//	K1  one effect: however often a command is delivered, it acts at most once, and a copy of a
//	    refused command is refused for ever
//	K2  an offset is stored in the transaction of what the records before it caused, and what
//	    is to be published in the transaction that caused it
//	K3  a gateway tells only what it has verified and stored; the events, and apart from them the
//	    passages over the ramp, are numbered from 1 without a gap
//	K4  an operator that says two things of one event or passage, or skips one, or lets a crossing
//	    pass twice, is found out: the gateway stops and says so (ErrOperator, ErrGap)
//	K5  nothing that anybody writes into a topic stops a host, or a gateway, unless the
//	    operator signed it
//
// It refuses to run a broker, to use consumer groups or transactions of Kafka (kafka-go's do
// not keep their word), and to trust a timestamp of a record. Topics must keep their records
// for ever (CreateTopics says so to the broker). Source: architecture.md "Time"; the
// transactional outbox and idempotent receiver patterns.
package kafkaledger
