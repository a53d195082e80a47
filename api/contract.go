package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
)

const (
	jsonType = "application/json"
	xmlType  = "application/xml"
	keyName  = "Idempotency-Key"
)

// maxJSON and maxXML bound a body in bytes.
const (
	maxJSON = 64 << 10
	maxXML  = iso20022.MaxSize
)

// contract is what the published document says of an operation's requests. A request that
// passes it is what the handler takes.
type contract struct {
	params   []param
	produces []string        // media types, the preferred one first
	consumes string          // media type of the body, or "" for none
	body     *shape          // of a JSON body
	unknown  cypherlink.Code // of an id that nothing has
}

type param struct {
	in, name string
	required bool
	shape    *shape
}

// newContract compiles an operation's contract.
func newContract(r huma.Registry, op *huma.Operation) (*contract, error) {
	c := &contract{}
	c.unknown, _ = op.Metadata[unknownKey].(cypherlink.Code)
	for _, p := range op.Parameters {
		s, err := compile(r, p.Schema)
		if err != nil {
			return nil, fmt.Errorf("%s: parameter %s: %w", op.OperationID, p.Name, err)
		}
		c.params = append(c.params, param{p.In, p.Name, p.Required, s})
	}
	for media := range op.Responses[strconv.Itoa(op.DefaultStatus)].Content {
		c.produces = append(c.produces, media)
	}
	slices.Sort(c.produces) // application/json comes before application/xml
	if op.RequestBody == nil {
		return c, nil
	}
	for media, content := range op.RequestBody.Content {
		c.consumes = media
		if media != jsonType {
			continue
		}
		s, err := compile(r, content.Schema)
		if err != nil {
			return nil, fmt.Errorf("%s: body: %w", op.OperationID, err)
		}
		c.body = s
	}
	return c, nil
}

// enforce is the check in front of every handler.
func enforce(contracts map[string]*contract) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humachi.Unwrap(ctx)
		c := contracts[ctx.Operation().OperationID]
		if p := c.check(w, r); p != nil {
			writeProblem(w, r, p)
			return
		}
		next(ctx)
	}
}

// check reports the first of: a wrong parameter, an answer that the client does not take, a
// body that is not of the contract's type, size and shape.
func (c *contract) check(w http.ResponseWriter, r *http.Request) *Problem {
	if p := c.checkParameters(r); p != nil {
		return p
	}
	ctx := r.Context()
	media, ok := negotiate(r.Header.Values("Accept"), c.produces)
	if !ok {
		return refuse(ctx, CodeNotAcceptable, "This can be had as "+strings.Join(c.produces, " or ")+".")
	}
	exchangeIn(ctx).media = media
	if c.consumes == "" {
		return nil
	}
	if p := c.checkMedia(r); p != nil {
		return p
	}
	raw, p := c.read(w, r)
	if p != nil || c.body == nil {
		return p
	}
	wrong, err := c.body.checkJSON(raw)
	switch {
	case err != nil:
		return refuse(ctx, CodeJSON, "The body has to be one JSON value in UTF-8: "+syntax(err)+".")
	case wrong != nil:
		return invalid(ctx, CodeInvalid, wrong)
	}
	return nil
}

// syntax tells what is wrong with JSON without quoting it.
func syntax(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it ends too early"
	}
	return "it is malformed, has a name twice, or is nested too deeply"
}

func (c *contract) checkParameters(r *http.Request) *Problem {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(r.Context(), CodeParameter, "The query is not one of name=value pairs.")
	}
	var wrong []fault
	code := CodeParameter
	for _, p := range c.params {
		values := p.values(r, query)
		delete(query, p.name)
		rule, message := p.check(values)
		if rule == "" {
			continue
		}
		wrong = append(wrong, fault{Violation: Violation{p.in + "/" + p.name, rule, message}})
		if len(wrong) == 1 {
			code = c.code(p, values)
		}
	}
	if len(query) > 0 {
		wrong = append(wrong, fault{Violation: Violation{
			"query", "additionalProperties", "holds a parameter that is not known here",
		}})
	}
	if wrong == nil {
		return nil
	}
	return invalid(r.Context(), code, wrong)
}

func (p param) values(r *http.Request, query url.Values) []string {
	switch p.in {
	case "path":
		return []string{r.PathValue(p.name)}
	case "header":
		return r.Header.Values(p.name)
	}
	return query[p.name]
}

// check tests a parameter; it returns "" or the rule and the message.
func (p param) check(values []string) (rule, message string) {
	switch {
	case len(values) == 0 && p.required:
		return "required", "is missing"
	case len(values) == 0:
		return "", ""
	case len(values) > 1:
		return "maxItems", "is given more than once"
	}
	return p.shape.checkText(values[0])
}

// code is that of the problem that a parameter is.
func (c *contract) code(p param, values []string) cypherlink.Code {
	switch {
	case p.in == "path":
		return c.unknown // an id that none can have
	case p.name == keyName && len(values) == 0:
		return CodeKeyMissing
	case p.name == keyName:
		return CodeKeyInvalid
	}
	return CodeParameter
}

// checkMedia takes a body of the contract's type, in UTF-8, as it is.
func (c *contract) checkMedia(r *http.Request) *Problem {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, ok := params["charset"]
	delete(params, "charset")
	switch {
	case err != nil, media != c.consumes, ok && !strings.EqualFold(charset, "utf-8"), len(params) > 0,
		len(r.Header.Values("Content-Type")) > 1:
		return refuse(r.Context(), CodeMediaType, "Send the body as "+c.consumes+" in UTF-8.")
	case len(r.Header.Values("Content-Encoding")) > 0:
		return refuse(r.Context(), CodeMediaType, "Send the body without a Content-Encoding.")
	}
	return nil
}

// read takes the body off the connection. Who exceeds the limit is not read to the end.
func (c *contract) read(w http.ResponseWriter, r *http.Request) ([]byte, *Problem) {
	limit := int64(maxXML)
	if c.consumes == jsonType {
		limit = maxJSON
	}
	ctx := r.Context()
	tooLarge := "The body may have " + strconv.FormatInt(limit, 10) + " bytes."
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, unread(ctx, err, tooLarge)
	}
	// The deadline for the body has been met: it must not end the request.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil &&
		!errors.Is(err, http.ErrNotSupported) {
		return nil, unread(ctx, err, tooLarge)
	}
	exchangeIn(ctx).raw = raw
	r.Body = io.NopCloser(bytes.NewReader(raw)) // for huma, which decodes it
	return raw, nil
}

// unread is the problem of a body that could not be read.
func unread(ctx context.Context, err error, tooLarge string) *Problem {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(ctx, CodeBodyTooLarge, tooLarge)
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return refuse(ctx, CodeBodyTimeout, "Nothing was done. Send it again.")
	}
	return refuse(ctx, CodeBodyCut, "Nothing was done. Send it again.")
}

// negotiate is the media type of those on offer that an Accept header prefers (RFC 9110,
// 12.5.1); of two that it likes equally, the first. Without a header it is the first.
func negotiate(accept, offers []string) (string, bool) {
	if len(accept) == 0 {
		return offers[0], true
	}
	best, most := "", 0.0
	for _, offer := range offers {
		if q := weight(accept, offer); q > most {
			best, most = offer, q
		}
	}
	return best, best != ""
}

// weight is the weight that the most specific range gives to a media type.
func weight(accept []string, media string) float64 {
	q, specific := 0.0, -1
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		asked, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		rank := -1
		switch kind, _, _ := strings.Cut(media, "/"); asked {
		case media:
			rank = 2
		case kind + "/*":
			rank = 1
		case "*/*":
			rank = 0
		}
		if rank <= specific {
			continue
		}
		specific, q = rank, 1
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				q = 0
			}
		}
	}
	return q
}
