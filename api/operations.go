package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/payment"
)

// everywhere are the codes with which every operation may refuse.
func everywhere() []cypherlink.Code {
	return []cypherlink.Code{
		CodeParameter, CodeNoClient, CodeNotAcceptable, CodeRate, CodeInternal, CodeOverload, CodeTimeout,
	}
}

// reading are the codes of a request with a body.
func reading() []cypherlink.Code {
	return []cypherlink.Code{CodeBodyCut, CodeBodyTimeout, CodeBodyTooLarge, CodeMediaType}
}

// keyed are the codes of a request with an Idempotency-Key.
func keyed() []cypherlink.Code {
	return []cypherlink.Code{CodeKeyMissing, CodeKeyInvalid, payment.CodeKeyReused, CodeKeyBusy}
}

// stated are the codes of a request with a JSON body and an Idempotency-Key.
func stated() []cypherlink.Code { return append(reading(), append(keyed(), CodeJSON, CodeInvalid)...) }

// contents are the codes with which Payments refuses what an instruction says.
func contents() []cypherlink.Code {
	return []cypherlink.Code{
		payment.CodeMalformed, payment.CodeUETR,
		iso20022.CodeBIC, iso20022.CodeIBAN, iso20022.CodeLEI,
	}
}

// messages are the codes with which Payments refuses a message.
func messages() []cypherlink.Code {
	return append(contents(),
		iso20022.CodeTooLarge, iso20022.CodeMalformed, iso20022.CodeForbidden, iso20022.CodeUnsupported,
		iso20022.CodeUnknown, iso20022.CodeUnexpected, iso20022.CodeAttribute, iso20022.CodeMissing,
		iso20022.CodeValue, iso20022.CodeCurrency, iso20022.CodeAmount, iso20022.CodeHeader,
		iso20022.CodeTransactions, iso20022.CodeService,
		payment.CodeKeyReused, CodeKeyBusy)
}

// unknownKey is where an operation's metadata has the code for an id that nothing has.
const unknownKey = "unknown"

// operation completes an operation: its problems, by status, with their codes, and that its
// requests are checked in front of huma and not by it.
func operation(r huma.Registry, op huma.Operation, groups ...[]cypherlink.Code) huma.Operation {
	op.SkipValidateBody, op.SkipValidateParams = true, true
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1 // the body has been read and measured by then
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	codes := map[string][]string{}
	for _, group := range append(groups, everywhere()) {
		for _, code := range group {
			c, _ := classify(code)
			if c.status == http.StatusNotFound {
				op.Metadata = map[string]any{unknownKey: code}
			}
			status := strconv.Itoa(c.status)
			codes[status] = append(codes[status], string(code))
		}
	}
	schema := r.Schema(reflect.TypeFor[Problem](), true, "")
	for status, of := range codes {
		slices.Sort(of)
		n, _ := strconv.Atoi(status)
		response := &huma.Response{
			Description: http.StatusText(n) + ": " + strings.Join(of, ", "),
			Content:     map[string]*huma.MediaType{problemType: {Schema: schema}},
		}
		if slices.ContainsFunc(of, func(s string) bool { return retryAfter(cypherlink.Code(s)) > 0 }) {
			response.Headers = map[string]*huma.Param{"Retry-After": {
				Description: "In how many seconds to ask again.",
				Schema:      &huma.Schema{Type: huma.TypeInteger, Examples: []any{1}},
			}}
		}
		op.Responses[status] = response
	}
	return op
}

// xmlBody is an ISO 20022 message in the document.
func xmlBody(message, description string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{xmlType: {Schema: &huma.Schema{
		Type: huma.TypeString, Description: description,
		Examples: []any{`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:` + message + `">...</Document>`},
	}}}
}

// server holds the ports behind the operations.
type server struct {
	network   *network
	payments  Payments
	documents Documents
	channels  Channels
	quotes    Quotes
	crossings Crossings
}

// register adds the operations that the ports allow.
func (s *server) register(a huma.API) {
	if s.payments != nil {
		s.registerPayments(a)
		s.registerMessages(a)
	}
	if s.channels != nil {
		s.registerChannels(a)
	}
	if s.quotes != nil {
		s.registerQuotes(a)
	}
	if s.crossings != nil {
		s.registerCrossings(a)
	}
	huma.Register(a, operation(a.OpenAPI().Components.Schemas, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Tags: []string{"operation"},
		Summary:     "Whether the process serves",
		Description: "Answers as long as the process does. It says nothing of the ledgers behind it.",
	}), func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{Body: Health{Status: "ok"}}, nil
	})
}

type healthOutput struct{ Body Health }
