package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/validator"
)

var errSilent = errors.New("too few validators answer")

// pollAll asks the Validators of a leg's asset, all at once, until as many approve as the asset
// asks for, or enough do not: then a *cypherlink.Error.
func pollAll(
	ctx context.Context, g *chain.Genesis, peers Peers, log *slog.Logger, r *VerdictRequest,
) ([]validator.Signed, error) {
	p, err := newPoll(g, r.Proof.Terms, r.Leg)
	if err != nil {
		return nil, err
	}
	type answer struct {
		from cypherlink.ParticipantID
		raw  []byte
		err  error
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, answers := r.Encode(), make(chan answer, len(p.ask()))
	for _, id := range p.ask() {
		asking.Go(func() {
			raw, err := peers.Call(ctx, id, KindVerdict, body)
			answers <- answer{id, raw, err}
		})
	}
	for range p.ask() {
		a := <-answers
		err := a.err
		var verdict *validator.Signed
		if err == nil {
			verdict, err = DecodeVerdict(a.raw)
		}
		if err == nil {
			err = p.hear(a.from, verdict, time.Now())
		}
		if refusal, ok := errors.AsType[*cypherlink.Error](err); ok {
			p.refuse(a.from, refusal)
		} else if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "a validator does not answer",
				slog.String("validator", a.from.String()), slog.String("cause", err.Error()))
		}
		if verdicts, refusal, done := p.result(); done {
			if refusal != nil {
				return nil, refusal
			}
			return verdicts, nil
		}
	}
	if verdicts, refusal, done := p.result(); done && refusal == nil {
		return verdicts, nil
	}
	return nil, fmt.Errorf("leg %d: %w", r.Leg, errSilent)
}
