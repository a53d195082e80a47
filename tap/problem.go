package tap

import (
	"net/http"

	"github.com/cypherlink/cypherlink"
)

// The codes of the problems with which a request is refused.
const (
	CodeNotFound  cypherlink.Code = "not_found"
	CodeMethod    cypherlink.Code = "method_not_allowed"
	CodeParameter cypherlink.Code = "parameter_invalid"
	CodeBody      cypherlink.Code = "body_unexpected"
	CodeNoClient  cypherlink.Code = "client_certificate_missing"
	CodeBusy      cypherlink.Code = "too_many_requests"
	CodeStreams   cypherlink.Code = "too_many_streams"
	CodeTimeout   cypherlink.Code = "timeout"
	CodeFrozen    cypherlink.Code = "feed_frozen"
	CodeInternal  cypherlink.Code = "internal"
)

const (
	problemType = "application/problem+json"
	problemURN  = "urn:cypherlink:problem:"
	requestURN  = "urn:cypherlink:request:"
)

// Problem is the body of every refusal (RFC 9457).
type Problem struct {
	// Type is urn:cypherlink:problem: and the code.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Instance is urn:cypherlink:request: and the id of the request, which the log has too.
	Instance string          `json:"instance"`
	Code     cypherlink.Code `json:"code"`
}

// class is the status and the title that all problems of one code have.
func class(code cypherlink.Code) (status int, title string) {
	switch code {
	case CodeNotFound:
		return http.StatusNotFound, "There is no such resource"
	case CodeMethod:
		return http.StatusMethodNotAllowed, "This interface can only be read"
	case CodeParameter:
		return http.StatusBadRequest, "A parameter is unknown, repeated or malformed"
	case CodeBody:
		return http.StatusBadRequest, "A request here has no body"
	case CodeNoClient:
		return http.StatusForbidden, "The request needs a client certificate"
	case CodeBusy:
		return http.StatusTooManyRequests, "Too many requests at a time"
	case CodeStreams:
		return http.StatusTooManyRequests, "Too many streams at a time"
	case CodeTimeout:
		return http.StatusServiceUnavailable, "The request took too long"
	case CodeFrozen:
		return http.StatusServiceUnavailable, "The chain stands still, or this process does not hear of it"
	}
	return http.StatusInternalServerError, "An internal error"
}

// newProblem is the problem of a code in the request of an id.
func newProblem(code cypherlink.Code, detail, id string) Problem {
	status, title := class(code)
	return Problem{
		Type: problemURN + string(code), Title: title, Status: status, Detail: detail,
		Instance: requestURN + id, Code: code,
	}
}
