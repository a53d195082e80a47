package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/cypherlink/cypherlink"
)

const (
	problemType    = "application/problem+json"
	problemURN     = "urn:cypherlink:problem:"
	requestURN     = "urn:cypherlink:request:"
	internalDetail = "The cause is in the log. Quote the instance when you report it."
)

// Problem is the body of every refusal (RFC 9457).
//
//nolint:errname // the RFC's word, and what the document calls it
type Problem struct {
	// Type is urn:cypherlink:problem: and the code.
	Type   string `json:"type" format:"uri" doc:"The kind of problem, as a stable URI with the code."`
	Title  string `json:"title" example:"A BIC is not valid" doc:"The kind of problem, for a person."`
	Status int    `json:"status" example:"422" doc:"The HTTP status."`
	Detail string `json:"detail" example:"See violations." doc:"What is wrong here and what to do."`

	// Instance is urn:cypherlink:request: and the id of the request, which the log has too.
	Instance string `json:"instance" format:"uri" doc:"This occurrence. Quote it when you report it."`

	Code cypherlink.Code `json:"code" example:"request_invalid" doc:"The kind, for programs; stable."`
	// ISOReason is of ExternalStatusReason, or empty where there is none.
	ISOReason string `json:"iso_reason,omitempty" format:"iso-reason" doc:"Of ExternalStatusReason."`
	// Violations are at most 16, in the order of the request.
	Violations []Violation `json:"violations,omitempty" nullable:"false" doc:"Each place that is wrong."`

	// retry is in how many seconds the request may be repeated, or 0.
	retry int
}

// Violation is one thing that is wrong with a request. Pointer is a JSON pointer (RFC 6901)
// into a JSON body, the path of an element in an XML body, or query/NAME, header/NAME, path/NAME
// for a parameter. Rule is a keyword of JSON Schema or the code of a form of text.
type Violation struct {
	Pointer string `json:"pointer" example:"/creditor/iban" doc:"Where, in the body or among the parameters."`
	Rule    string `json:"rule" example:"iban_invalid" doc:"What is violated, for programs. It is stable."`
	Message string `json:"message" example:"is not an IBAN" doc:"What is violated, for a person."`
}

// Error is the detail with the code.
func (p *Problem) Error() string { return p.Detail + " [" + string(p.Code) + "]" }

// GetStatus is the HTTP status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders are the headers that go with the problem, for huma.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	return h
}

// ContentType is the media type of problems, for huma.
func (*Problem) ContentType(string) string { return problemType }

// explain turns an error into what may be told outside, and leaves the error itself to the
// access log of the request in ctx.
func explain(ctx context.Context, err error) *Problem {
	on := exchangeIn(ctx)
	if p, ok := errors.AsType[*Problem](err); ok {
		on.code = p.Code
		return p
	}
	told := &cypherlink.Error{Code: CodeInternal, Message: internalDetail}
	if e, ok := errors.AsType[*cypherlink.Error](err); ok {
		if c, known := classify(e.Code); known && c.status != http.StatusInternalServerError {
			told = e
		}
	} else if ctx.Err() != nil {
		// also a driver's own error for a context that has ended
		told = &cypherlink.Error{Code: CodeTimeout, Message: "Ask again, with the same Idempotency-Key."}
	}
	p := newProblem(on, told.Code, told.Message)
	p.ISOReason = told.Reason
	if told.Pointer != "" {
		p.Violations = []Violation{{Pointer: told.Pointer, Rule: string(told.Code), Message: told.Message}}
	}
	on.code, on.cause = p.Code, err
	return p
}

// newProblem is a problem of a code in the table.
func newProblem(on *exchange, code cypherlink.Code, detail string) *Problem {
	c, _ := classify(code)
	return &Problem{
		Type: problemURN + string(code), Title: c.title, Status: c.status, Detail: detail,
		Instance: requestURN + on.id, Code: code, retry: retryAfter(code),
	}
}

// invalid is a problem with the places that are wrong. The ISO reason is that of the first one
// that has any.
func invalid(ctx context.Context, code cypherlink.Code, wrong []fault) *Problem {
	detail := "One place in the request is wrong: see violations."
	if len(wrong) > 1 {
		detail = strconv.Itoa(len(wrong)) + " places in the request are wrong: see violations."
	}
	p := newProblem(exchangeIn(ctx), code, detail)
	for _, f := range wrong {
		p.Violations = append(p.Violations, f.Violation)
		if p.ISOReason == "" {
			p.ISOReason = f.reason
		}
	}
	return p
}

// refuse is a problem that this package itself finds.
func refuse(ctx context.Context, code cypherlink.Code, detail string) *Problem {
	return newProblem(exchangeIn(ctx), code, detail)
}

// writeProblem answers with the problem that err is.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := explain(r.Context(), err)
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	if err := json.MarshalWrite(w, p); err != nil {
		exchangeIn(r.Context()).cause = err // the client has gone
	}
}

// onlyProblems replaces an error that huma makes itself, whose text may quote the request. The
// check in front of huma leaves none to be made; should one be, it is told as what its status
// says.
func onlyProblems(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	on := exchangeIn(ctx.Context())
	code, detail := CodeInternal, internalDetail
	if e.Status < http.StatusInternalServerError {
		code, detail = CodeInvalid, "The request does not have the form that this operation documents."
	}
	p := newProblem(on, code, detail)
	p.Status = e.Status
	on.code, on.cause = code, e
	return p, nil
}
