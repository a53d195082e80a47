// Package api is the REST interface of a bank's Connect and of a clearing bank's connector:
// JSON and ISO 20022 XML over mutual TLS 1.3.
//
// Its noun is the operation: one route, the types it takes and gives, and the problems with
// which it refuses. The operations are registered once; from them come the router, the OpenAPI
// 3.1 document (openapi.yaml, served as it is compared in the tests) and the check that every
// request passes before a handler sees it. So document and server cannot disagree: a body is
// read token by token against the schema that the document shows, and a schema with a keyword
// that the check does not enforce is refused at the start.
//
// What the operations do is behind ports (Payments, Documents, Channels, Quotes, Crossings).
// Every refusal is an RFC 9457 problem with a stable code; what a *cypherlink.Error may tell
// outside it tells, and everything else is "internal" outside and stands in full in the log,
// under the id of the request.
//
// The package refuses to keep anything (idempotency keys and their answers belong to the
// ports), to serve without a client certificate that was verified, to read a body that it has
// not measured, to take money as a JSON number, and to log a body, a name or an account.
//
// Sources: RFC 9110 (HTTP), RFC 9457 (problem details), RFC 8259 and 6901 (JSON, pointers),
// draft-ietf-httpapi-idempotency-key-header-07 (a draft, whose semantics are used; the key is
// the whole field value), OpenAPI 3.1.
package api
