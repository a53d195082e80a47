package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/payment"
)

// The inputs and outputs of the operations on channels. huma reads the tags.
type (
	channelsInput struct {
		Cursor string `query:"cursor" format:"hash" doc:"Where to go on, from the next of a page."`
		Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" example:"9" doc:"The most items."`
	}
	channelsOutput struct{ Body ChannelPage }

	channelInput struct {
		ID string `path:"id" format:"hash" doc:"The channel's id."`
	}
	channelOutput struct{ Body Channel }

	openInput struct {
		Key  string `header:"Idempotency-Key" required:"true" format:"key" doc:"Your own id of this request."`
		Body ChannelRequest
	}
	openOutput struct {
		Location string `header:"Location" doc:"Where the channel is."`
		Replayed string `header:"Idempotency-Replayed" doc:"true: the request had been made before."`
		Body     Opening
	}
	closeInput struct {
		ID  string `path:"id" format:"hash" doc:"The channel's id."`
		Key string `header:"Idempotency-Key" required:"true" format:"key" doc:"Your own id of this request."`
	}
	amountInput struct {
		ID   string `path:"id" format:"hash" doc:"The channel's id."`
		Key  string `header:"Idempotency-Key" required:"true" format:"key" doc:"Your own id of this request."`
		Body ChannelAmount
	}
	orderOutput struct {
		Replayed string `header:"Idempotency-Replayed" doc:"true: the request had been made before."`
		Body     Channel
	}
)

const channelsPath = "/v1/channels"

func (s *server) registerChannels(a huma.API) {
	r, tags := a.OpenAPI().Components.Schemas, []string{"channels"}
	unknown := []cypherlink.Code{payment.CodeNoChannel}
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "list-channels", Method: http.MethodGet, Path: channelsPath, Tags: tags,
		Summary: "List the channels", Description: "All of this bank's, those that are over too, by id.",
	}), s.listChannels)
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "get-channel", Method: http.MethodGet, Path: channelsPath + "/{id}", Tags: tags,
		Summary:     "Ask where a channel stands",
		Description: "What the chain has of it, and this bank's own records of its two lanes.",
	}, unknown), s.channel)
	huma.Register(a, operation(r, huma.Operation{
		OperationID: "open-channel", Method: http.MethodPost, Path: channelsPath, Tags: tags,
		DefaultStatus: http.StatusAccepted, Summary: "Open a channel",
		Description: "The answer comes as soon as the wish is stored; the two banks then open the " +
			"channel on their own. Each pair of banks has one channel in an asset at a time.",
	}, stated(), rules(channels.T0, channels.L9, channels.L10), []cypherlink.Code{
		payment.CodeAgent, payment.CodeAsset,
	}), s.open)
	order := func(verb, summary, description string, codes ...[]cypherlink.Code) huma.Operation {
		return operation(r, huma.Operation{
			OperationID: verb + "-channel", Method: http.MethodPost, Path: channelsPath + "/{id}/" + verb,
			Tags: tags, DefaultStatus: http.StatusAccepted, Summary: summary,
			Description: description + " The answer is the channel as it stands when that is stored.",
		}, append(codes, unknown)...)
	}
	huma.Register(a, order("fund", "Move money into a channel",
		"From the bank's account on the chain into its side of the channel. It waits until the account "+
			"has the money, and later ones wait behind it: the channel's alerts say so.",
		stated(), rules(channels.T0, channels.T1), []cypherlink.Code{iso20022.CodeAmount}), s.fund)
	huma.Register(a, order("release", "Move money out of a channel",
		"From the bank's side of the channel into its account on the chain. The other bank has to agree.",
		stated(), rules(channels.T0, channels.T5, channels.L8, channels.L9, channels.L10),
		[]cypherlink.Code{iso20022.CodeAmount}), s.release)
	huma.Register(a, order("close", "Close a channel",
		"Together with the other bank if it agrees, else alone, which takes the channel's window. Each "+
			"bank's balance comes into its account on the chain.",
		keyed(), rules(channels.T0, channels.T6, channels.L9, channels.L10)), s.close)
}

// rules are the codes of refusals by rules of package channels.
func rules(all ...channels.Rule) []cypherlink.Code {
	var codes []cypherlink.Code
	for _, rule := range all {
		codes = append(codes, rule.Code())
	}
	return codes
}

func (s *server) listChannels(ctx context.Context, in *channelsInput) (*channelsOutput, error) {
	all, err := s.channels.Channels(ctx)
	if err != nil {
		return nil, explain(ctx, err)
	}
	page := ChannelPage{Items: []Channel{}}
	for _, c := range all {
		if c.ID.String() <= in.Cursor {
			continue
		}
		if len(page.Items) == in.Limit {
			page.Next = channelsPath + "?" + url.Values{
				"cursor": {page.Items[in.Limit-1].ID}, "limit": {strconv.Itoa(in.Limit)},
			}.Encode()
			break
		}
		page.Items = append(page.Items, s.network.channel(c))
	}
	return &channelsOutput{page}, nil
}

// findChannel is the channel of an id in text.
func (s *server) findChannel(ctx context.Context, text string) (*payment.Channel, error) {
	var id channels.ID
	if err := id.UnmarshalText([]byte(text)); err != nil {
		return nil, err
	}
	return s.channels.Channel(ctx, id)
}

func (s *server) channel(ctx context.Context, in *channelInput) (*channelOutput, error) {
	c, err := s.findChannel(ctx, in.ID)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &channelOutput{s.network.channel(c)}, nil
}

func (s *server) open(ctx context.Context, in *openInput) (*openOutput, error) {
	on := exchangeIn(ctx)
	o, err := s.network.opening(&in.Body)
	if err != nil {
		return nil, explain(ctx, err)
	}
	id, replayed, err := s.channels.Open(ctx, o, on.raw, on.scoped(in.Key))
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &openOutput{
		Location: channelsPath + "/" + id.String(), Replayed: mark(replayed),
		Body: Opening{ID: id.String(), Peer: s.network.bic(o.Peer), Asset: s.network.labels[o.Asset]},
	}, nil
}

func (s *server) fund(ctx context.Context, in *amountInput) (*orderOutput, error) {
	return s.orderAmount(ctx, in, "fund", func(a cypherlink.Amount) payment.Order {
		return payment.FundOrder{Amount: a}
	})
}

func (s *server) release(ctx context.Context, in *amountInput) (*orderOutput, error) {
	return s.orderAmount(ctx, in, "release", func(a cypherlink.Amount) payment.Order {
		return payment.ReleaseOrder{Amount: a}
	})
}

func (s *server) close(ctx context.Context, in *closeInput) (*orderOutput, error) {
	c, err := s.findChannel(ctx, in.ID)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return s.order(ctx, c.ID, payment.CloseOrder{}, "close", in.Key)
}

func (s *server) orderAmount(
	ctx context.Context, in *amountInput, verb string, order func(cypherlink.Amount) payment.Order,
) (*orderOutput, error) {
	c, err := s.findChannel(ctx, in.ID)
	if err != nil {
		return nil, explain(ctx, err)
	}
	amount, err := parseAmount(in.Body.Amount, c.Asset, "/amount")
	if err != nil {
		return nil, explain(ctx, err)
	}
	return s.order(ctx, c.ID, order(amount), verb, in.Key)
}

// order tells the port what is wanted. What a key stands for is the verb and the channel too, which
// are no part of the body.
func (s *server) order(
	ctx context.Context, id channels.ID, o payment.Order, verb, key string,
) (*orderOutput, error) {
	on := exchangeIn(ctx)
	raw := append([]byte(channelsPath+"/"+id.String()+"/"+verb+"\n"), on.raw...)
	replayed, err := s.channels.Order(ctx, id, o, raw, on.scoped(key))
	if err != nil {
		return nil, explain(ctx, err)
	}
	c, err := s.channels.Channel(ctx, id)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return &orderOutput{Replayed: mark(replayed), Body: s.network.channel(c)}, nil
}
