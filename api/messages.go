package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/payment"
)

type messageOutput struct {
	Status      int
	ContentType string `header:"Content-Type" hidden:"true"`
	Location    string `header:"Location" doc:"Where the payment is."`
	Replayed    string `header:"Idempotency-Replayed" doc:"true: the message had been sent before."`
	Body        []byte
}

func (s *server) registerMessages(a huma.API) {
	op := operation(a.OpenAPI().Components.Schemas, huma.Operation{
		OperationID: "submit-message", Method: http.MethodPost, Path: "/v1/iso20022",
		Tags: []string{"payments"}, DefaultStatus: http.StatusAccepted,
		Summary: "Instruct a payment by a pacs.008",
		Description: "The instructing agent and MsgId name the message: the same one again gives the " +
			"same answer, another one under the same id is refused. A message that is refused as a whole " +
			"is answered with an admi.002, everything else that is wrong with a problem.",
		RequestBody: &huma.RequestBody{
			Required: true, Content: xmlBody("pacs.008.001.08", "One pacs.008, bare or with a header."),
		},
	}, reading(), messages())
	op.Responses["202"] = &huma.Response{Content: xmlBody("pacs.002.001.10", "Where the payment stands.")}
	for _, status := range []string{"400", "413", "422"} {
		maps.Copy(op.Responses[status].Content, xmlBody("admi.002.001.01", "Why the message is refused."))
	}
	huma.Register(a, op, s.submitMessage)
}

func (s *server) submitMessage(ctx context.Context, _ *struct{}) (*messageOutput, error) {
	on := exchangeIn(ctx)
	a, err := s.payments.Submit(ctx, on.raw, payment.XML, "")
	if err != nil {
		return reject(ctx, err)
	}
	return &messageOutput{
		Status: http.StatusAccepted, ContentType: xmlType, Body: a.Report,
		Location: location(a.Payment.UETR.String()), Replayed: mark(a.Replayed),
	}, nil
}

// reject answers a message that is refused as a whole in the sender's own language. What is not
// the sender's fault, or has a time to try again, stays a problem.
func reject(ctx context.Context, cause error) (*messageOutput, error) {
	p := explain(ctx, cause)
	e, ok := errors.AsType[*cypherlink.Error](cause)
	if !ok || p.Code != e.Code || p.Status >= http.StatusInternalServerError || p.retry > 0 {
		return nil, p
	}
	answer := iso20022.NewMessageReject("NOTPROVIDED", time.Now().UTC(), e)
	b, err := answer.Encode(nil)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &messageOutput{Status: p.Status, ContentType: xmlType, Body: b}, nil
}
