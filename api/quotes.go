package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
)

type (
	quoteInput struct {
		Key  string `header:"Idempotency-Key" required:"true" format:"key" doc:"Your own id of this request."`
		Body QuoteRequest
	}
	quoteOutput struct {
		Replayed string `header:"Idempotency-Replayed" doc:"true: the answer is the stored one."`
		Body     Quote
	}
)

func (s *server) registerQuotes(a huma.API) {
	huma.Register(a, operation(a.OpenAPI().Components.Schemas, huma.Operation{
		OperationID: "request-quote", Method: http.MethodPost, Path: "/v1/quotes", Tags: []string{"quotes"},
		DefaultStatus: http.StatusCreated, Summary: "Ask what a delivery costs",
		Description: "The clearing bank's signed offer to deliver exactly the destination amount. It binds " +
			"the clearing bank until valid_until and can be used once.",
	}, keyed(), []cypherlink.Code{CodeNoQuote}), s.quote)
}

func (s *server) quote(ctx context.Context, in *quoteInput) (*quoteOutput, error) {
	on := exchangeIn(ctx)
	q, replayed, err := s.quotes.Quote(ctx, Request{on.client, in.Key, on.raw}, in.Body)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &quoteOutput{Replayed: mark(replayed), Body: q}, nil
}
