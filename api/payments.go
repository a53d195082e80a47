package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/payment"
)

// The inputs and outputs of the operations on payments. huma reads the tags.
type (
	submitInput struct {
		Key string `header:"Idempotency-Key" required:"true" format:"key" doc:"Your own id of this request."`
	}
	submitOutput struct {
		Location string `header:"Location" doc:"Where the payment is."`
		Replayed string `header:"Idempotency-Replayed" doc:"true: the request had been made before."`
		Body     Payment
	}
	paymentInput struct {
		ID string `path:"id" format:"uetr" doc:"The payment's UETR."`
	}
	paymentOutput struct {
		ContentType string `header:"Content-Type" hidden:"true"`
		Vary        string `header:"Vary" hidden:"true"`
		Body        any    // a Payment, or the bytes of a pacs.002
	}
	eventsInput struct {
		ID     string `path:"id" format:"uetr" doc:"The payment's UETR."`
		Cursor string `query:"cursor" format:"cursor" doc:"Where to go on, from the next of a page."`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" example:"9" doc:"The most items."`
	}
	eventsOutput struct{ Body Events }

	receiptInput struct {
		ID string `path:"id" format:"uetr" doc:"The payment's UETR."`
	}
	receiptOutput struct {
		ContentType string `header:"Content-Type" hidden:"true"`
		Body        []byte
	}
)

func (s *server) registerPayments(a huma.API) {
	r, tags := a.OpenAPI().Components.Schemas, []string{"payments"}
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "submit-payment", Method: http.MethodPost, Path: "/v1/payments", Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Instruct a payment",
		Description: "The answer comes as soon as the instruction is stored; the payment is then carried " +
			"out on its own. The same request with the same Idempotency-Key gives the same payment and " +
			"moves nothing again; another request with it is refused.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			jsonType: {Schema: r.Schema(reflect.TypeFor[Instruction](), true, "")},
		}},
	}, stated(), contents()), s.submit)
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "get-payment", Method: http.MethodGet, Path: "/v1/payments/{id}", Tags: tags,
		Summary:     "Ask where a payment stands",
		Description: "As JSON, or as a pacs.002 where Accept prefers application/xml.",
		Responses: map[string]*huma.Response{"200": {Content: map[string]*huma.MediaType{
			jsonType: {Schema: r.Schema(reflect.TypeFor[Payment](), true, "")},
			xmlType:  xmlBody("pacs.002.001.10", "The same as a pacs.002.")[xmlType],
		}}},
	}, []cypherlink.Code{payment.CodeUnknown}), s.payment)
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: "/v1/payments/{id}/events", Tags: tags,
		Summary:     "Trace a payment",
		Description: "Every transition, oldest first, with its reason and where its proof lies.",
	}, []cypherlink.Code{payment.CodeUnknown}), s.events)
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "get-receipt", Method: http.MethodGet, Path: "/v1/payments/{id}/receipt", Tags: tags,
		Summary: "Fetch the proof of a final payment",
		Description: "The canonical bytes, exactly as they were stored: save them as receipt.json and " +
			"check them offline with `cypherlink verify`.",
		Responses: map[string]*huma.Response{"200": {Content: map[string]*huma.MediaType{
			jsonType: {Schema: &huma.Schema{Type: huma.TypeObject, Description: "The receipt."}},
		}}},
	}, []cypherlink.Code{payment.CodeUnknown, payment.CodeNoReceipt, payment.CodeReceiptless}), s.receipt)
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "get-return", Method: http.MethodGet, Path: "/v1/payments/{id}/return", Tags: tags,
		Summary: "Fetch a return as a pacs.004",
		Description: "Of a payment that brings another one back, since the creditor's account did not take " +
			"it: the events of that one name it.",
		Responses: map[string]*huma.Response{"200": {Content: xmlBody("pacs.004.001.09", "The return.")}},
	}, []cypherlink.Code{payment.CodeUnknown, payment.CodeNoReturn}), s.returned)
}

// location is a payment's path.
func location(uetr string) string { return "/v1/payments/" + uetr }

func (s *server) submit(ctx context.Context, in *submitInput) (*submitOutput, error) {
	on := exchangeIn(ctx)
	a, err := s.payments.Submit(ctx, on.raw, payment.JSON, on.scoped(in.Key))
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &submitOutput{
		Location: location(a.Payment.UETR.String()), Replayed: mark(a.Replayed),
		Body: s.network.payment(a.Payment),
	}, nil
}

// mark is the value of Idempotency-Replayed, which a first answer does not have.
func mark(replayed bool) string {
	if replayed {
		return "true"
	}
	return ""
}

func (s *server) payment(ctx context.Context, in *paymentInput) (*paymentOutput, error) {
	id, err := cypherlink.ParseUETR(in.ID)
	if err != nil {
		return nil, explain(ctx, err)
	}
	out := &paymentOutput{ContentType: exchangeIn(ctx).media, Vary: "Accept"}
	if out.ContentType == xmlType {
		if out.Body, err = s.documents.Status002(ctx, id); err != nil {
			return nil, explain(ctx, err)
		}
		return out, nil
	}
	p, err := s.payments.Payment(ctx, id)
	if err != nil {
		return nil, explain(ctx, err)
	}
	out.Body = s.network.payment(p)
	return out, nil
}

func (s *server) events(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	id, err := cypherlink.ParseUETR(in.ID)
	if err != nil {
		return nil, explain(ctx, err)
	}
	after := uint64(0)
	if in.Cursor != "" {
		if after, err = parseCursor(in.Cursor); err != nil {
			return nil, explain(ctx, err)
		}
	}
	all, err := s.payments.Events(ctx, id)
	if err != nil {
		return nil, explain(ctx, err)
	}
	page := Events{Items: []Event{}}
	for i := range all {
		e := event(&all[i])
		if e.Sequence <= after {
			continue
		}
		if len(page.Items) == in.Limit {
			page.Next = location(in.ID) + "/events?" + url.Values{
				"cursor": {cursor(page.Items[in.Limit-1].Sequence)}, "limit": {strconv.Itoa(in.Limit)},
			}.Encode()
			break
		}
		page.Items = append(page.Items, e)
	}
	return &eventsOutput{page}, nil
}

func (s *server) receipt(ctx context.Context, in *receiptInput) (*receiptOutput, error) {
	id, err := cypherlink.ParseUETR(in.ID)
	if err != nil {
		return nil, explain(ctx, err)
	}
	b, err := s.documents.Receipt(ctx, id)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &receiptOutput{ContentType: jsonType, Body: b}, nil
}

func (s *server) returned(ctx context.Context, in *receiptInput) (*receiptOutput, error) {
	id, err := cypherlink.ParseUETR(in.ID)
	if err != nil {
		return nil, explain(ctx, err)
	}
	b, err := s.documents.Return004(ctx, id)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &receiptOutput{ContentType: xmlType, Body: b}, nil
}

// errCursor means that a text is no cursor.
var errCursor = errors.New("not a cursor")

// cursor is the opaque text of a page that ends with an event's sequence.
func cursor(sequence uint64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sequence))
}

// parseCursor takes exactly what cursor makes.
func parseCursor(s string) (uint64, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 8 || !bytes.Equal(base64.RawURLEncoding.AppendEncode(nil, b), []byte(s)) {
		return 0, errCursor
	}
	return binary.BigEndian.Uint64(b), nil
}
