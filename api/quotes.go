package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/payment"
)

type (
	quoteInput struct {
		Key  string `header:"Idempotency-Key" required:"true" format:"key" doc:"Your own id of this request."`
		Body QuoteRequest
	}
	quoteOutput struct {
		Replayed string `header:"Idempotency-Replayed" doc:"true: the request had been made before."`
		Body     Quote
	}
)

func (s *server) registerQuotes(a huma.API) {
	huma.Register(a, operation(a.OpenAPI().Components.Schemas, huma.Operation{
		OperationID: "request-quote", Method: http.MethodPost, Path: "/v1/quotes", Tags: []string{"quotes"},
		DefaultStatus: http.StatusCreated, Summary: "Ask what a delivery costs",
		Description: "The clearing bank's signed offer to deliver exactly the destination amount. It binds " +
			"the clearing bank until valid_until and can be used once, by the bank that debtor_agent " +
			"names; without one it is for information.",
	}, stated(), []cypherlink.Code{
		payment.CodeAgent, payment.CodeAsset, iso20022.CodeAmount, payment.CodeNoQuote,
	}), s.quote)
}

func (s *server) quote(ctx context.Context, in *quoteInput) (*quoteOutput, error) {
	on := exchangeIn(ctx)
	asker, request, err := s.network.quoteRequest(&in.Body)
	if err != nil {
		return nil, explain(ctx, err)
	}
	q, replayed, err := s.quotes.QuoteOnce(ctx, asker, request, on.raw, on.scoped(in.Key))
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &quoteOutput{Replayed: mark(replayed), Body: s.network.quote(q)}, nil
}
