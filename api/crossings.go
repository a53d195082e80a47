package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

type (
	crossInput struct {
		Key  string `header:"Idempotency-Key" required:"true" format:"key" doc:"Your own id of this request."`
		Body Money
	}
	crossOutput struct {
		Location string `header:"Location" doc:"Where the crossing is."`
		Replayed string `header:"Idempotency-Replayed" doc:"true: the request had been made before."`
		Body     Crossing
	}
	crossingInput struct {
		ID string `path:"id" format:"hash" doc:"The crossing's id."`
	}
	crossingOutput struct{ Body Crossing }
)

func (s *server) registerCrossings(a huma.API) {
	r, tags := a.OpenAPI().Components.Schemas, []string{"crossings"}
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "start-crossing", Method: http.MethodPost, Path: "/v1/crossings", Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Move own money onto the chain or back",
		Description: "The amount leaves the named asset's ledger, out of the institution's account there, " +
			"and comes in on the other ledger: DE as DE.C, DE.C as DE. The answer comes as soon as the " +
			"crossing is stored.",
	}, stated(), []cypherlink.Code{
		payment.CodeAsset, payment.CodeRoute, iso20022.CodeAmount, CodeCrossings,
	}), s.cross)
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "get-crossing", Method: http.MethodGet, Path: "/v1/crossings/{id}", Tags: tags,
		Summary: "Ask how far a crossing is", Description: "Of the institution's own crossings.",
	}, []cypherlink.Code{CodeNoCrossing}), s.crossing)
}

func (s *server) cross(ctx context.Context, in *crossInput) (*crossOutput, error) {
	asset, err := s.network.asset(in.Body.Asset, "/asset")
	if err != nil {
		return nil, explain(ctx, err)
	}
	amount, err := parseAmount(in.Body.Amount, asset, "/amount")
	if err != nil {
		return nil, explain(ctx, err)
	}
	x, stage, replayed, err := s.crossings.Cross(ctx, asset, amount, exchangeIn(ctx).scoped(in.Key))
	if err != nil {
		return nil, explain(ctx, err)
	}
	out := s.network.crossing(x, stage)
	return &crossOutput{Location: "/v1/crossings/" + out.ID, Replayed: mark(replayed), Body: out}, nil
}

func (s *server) crossing(ctx context.Context, in *crossingInput) (*crossingOutput, error) {
	var id ledger.CrossingID
	if err := id.UnmarshalText([]byte(in.ID)); err != nil {
		return nil, explain(ctx, err)
	}
	x, stage, err := s.crossings.Crossing(ctx, id)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &crossingOutput{s.network.crossing(x, stage)}, nil
}
