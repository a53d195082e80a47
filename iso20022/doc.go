// Package iso20022 is the messages that banks send each other: pacs.008 (a customer's credit
// transfer) in, pacs.002 (its status), pacs.004 (its return) and admi.002 (a message refused as a
// whole) out and in, each bare or with a business application header (head.001) in a wrapper.
//
// Its noun is the Message: what Parse made of the raw bytes and nothing else could be made of
// them. Parse is strict. It refuses what is not well-formed, document types, processing
// instructions, more than 1 MiB, every element and attribute that the base schema of the
// message's own version does not have, a wrong order, a wrong namespace, and every value that
// its type does not allow: lengths, patterns, digits, but also check digits of IBAN and LEI, the
// country of a BIC, the digits of a currency. CheckUsage adds what this gateway asks of a
// message beyond its schema. Every refusal is a *cypherlink.Error with a code, the ISO reason
// to send back, and the path of the element.
//
// What a struct here does not hold is in the raw bytes, which the caller keeps: they are the
// record. The package refuses to judge signatures in a header, to fetch anything, and to let
// a float near an amount.
//
// Sources: the ISO 20022 base schemas and external code sets (from which go test -update
// generates schema_table.go and reason_table.go), ISO 4217, 9362, 13616, 17442, XML 1.0.
package iso20022
