package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator/rules"
)

// validatorCommand runs a Cypherium Validator.
type validatorCommand struct {
	Config string `help:"Configuration file." required:"" type:"existingfile"`
}

// Run is the process.
func (c *validatorCommand) Run(s *session) error {
	var config validatorConfig
	if err := readConfig(c.Config, &config); err != nil {
		return refusal{err}
	}
	return runProcess(s, config.Node, func(ctx context.Context, log *slog.Logger) (process, error) {
		return newValidator(ctx, &config, log)
	})
}

// agreements implements rules.Agreements.
type agreements struct{ rosters *payment.Rosters }

// VerifyProof checks the collective signature of all parties.
func (a agreements) VerifyProof(raw []byte) (*terms.Terms, error) {
	p, err := terms.DecodeProof(raw)
	if err != nil {
		return nil, err
	}
	if err := a.rosters.Verify(p); err != nil {
		return nil, err
	}
	return p.Terms, nil
}

// validatorProcess judges and remembers: a ruling once given stands. It endorses what its own copy of
// the chain and its own record allow.
type validatorProcess struct {
	keys *keys
	// judges are one for each of the Validator's assets.
	judges   map[cypherlink.Asset]*rules.Judge
	store    *store.Store
	follow   *follow.Follower
	endorser *payment.Endorser
	close    []func() error
}

func newValidator(
	ctx context.Context, c *validatorConfig, log *slog.Logger,
) (_ *validatorProcess, err error) {
	k, err := c.Node.load()
	if err != nil {
		return nil, err
	}
	v := &validatorProcess{keys: k}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.Close())
		}
	}()
	names := newDirectory(k.genesis)
	if v.judges, err = c.judges(k, names); err != nil {
		return nil, err
	}
	if v.store, err = openStore(ctx, c.Store, c.Node.Data); err != nil {
		return nil, err
	}
	v.close = append(v.close, v.store.Close)
	own, err := openChainCopy(&c.Node, k, log)
	if err != nil {
		return nil, err
	}
	v.close = append(v.close, own.Close)
	v.follow = own.follow
	v.endorser, err = payment.NewEndorser(payment.EndorserOptions{
		Network: k.genesis.Network(), Self: k.self.ID, Follower: v.follow, Store: v.store,
		Identity: k.identity, Cosigner: k.cosigning,
	})
	if err != nil {
		return nil, err
	}
	listener, err := names.serve(ctx, c.Node.Listen, k.tls, log, v.answer)
	if err != nil {
		return nil, err
	}
	v.close = append(v.close, listener.Close)
	return v, nil
}

// judges are the Validator's, one for each asset.
func (c *validatorConfig) judges(k *keys, names *directory) (map[cypherlink.Asset]*rules.Judge, error) {
	raw, err := os.ReadFile(string(c.RuleSet))
	if err != nil {
		return nil, err
	}
	set, err := rules.Compile(raw)
	if err != nil {
		return nil, err
	}
	list, err := kyc.NewList(c.Screening)
	if err != nil {
		return nil, err
	}
	if len(c.Assets) == 0 {
		return nil, fmt.Errorf("a Validator of no asset: %w", errConfig)
	}
	agreed, judges := agreements{payment.NewRosters(k.genesis)}, map[cypherlink.Asset]*rules.Judge{}
	for _, name := range c.Assets {
		asset, err := name.find(k.genesis)
		if err != nil {
			return nil, err
		}
		judges[asset.Asset], err = rules.NewJudge(rules.Options{
			Network: k.genesis.Network(), Self: k.self.ID, Asset: asset.Asset, Policy: asset.Policy,
			Set: set, List: list, Validity: int64(time.Duration(c.Valid) / time.Second),
		}, agreed, names)
		if err != nil {
			return nil, err
		}
	}
	return judges, nil
}

// Run keeps up with the chain until ctx ends; the work is done in answers.
func (v *validatorProcess) Run(ctx context.Context) error { return v.follow.Run(ctx) }

// Close ends the process, the last opened first.
func (v *validatorProcess) Close() error { return closeAll(v.close) }

func (v *validatorProcess) answer(
	ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte,
) ([]byte, error) {
	switch kind {
	case payment.KindVerdict:
		return v.verdict(ctx, from, body)
	case payment.KindEndorse:
		return v.endorser.Endorse(ctx, from, body)
	case payment.KindJoin:
		return v.endorser.Join(ctx, from, body)
	}
	return nil, fmt.Errorf("kind %d: %w", kind, payment.ErrMessage)
}

// verdict answers KindVerdict.
func (v *validatorProcess) verdict(
	ctx context.Context, from cypherlink.ParticipantID, body []byte,
) ([]byte, error) {
	request, err := payment.DecodeVerdictRequest(body)
	if err != nil {
		return nil, err
	}
	asset := request.Proof.Terms.Legs[request.Leg].Asset
	judge, ok := v.judges[asset]
	if !ok {
		return nil, &cypherlink.Error{
			Code: rules.CodeAsset, Reason: "AM03", Message: fmt.Sprintf("this Validator does not judge %s", asset),
		}
	}
	open, err := judge.Open(from, &rules.Request{
		Terms: request.Proof.Encode(), Leg: request.Leg, Told: request.Opened,
	})
	if err != nil {
		return nil, err
	}
	ruling, err := v.rule(ctx, judge, open)
	if err != nil {
		return nil, err
	}
	return payment.EncodeVerdict(&ruling.Signed), nil
}

// rule gives the ruling that stands, or makes one and stores it before it is told.
func (v *validatorProcess) rule(
	ctx context.Context, judge *rules.Judge, c *rules.Case,
) (ruling *rules.Ruling, err error) {
	var salt [32]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, err
	}
	err = v.store.Update(ctx, func(tx *store.Tx) error {
		stored, err := tx.Get(c.Key())
		if err != nil {
			return err
		}
		if stored != nil {
			ruling, err = rules.DecodeRuling(stored)
			return err
		}
		if ruling, err = judge.Decide(time.Now().Unix(), salt, c); err != nil {
			return err
		}
		if err := ruling.Sign(v.keys.genesis.Network(), v.keys.identity); err != nil {
			return err
		}
		return tx.Put(c.Key(), ruling.Encode())
	})
	return ruling, err
}

// find is the asset of genesis of that name.
func (a assetName) find(g *chain.Genesis) (*chain.Asset, error) {
	file := g.File()
	for i := range file.Assets {
		if file.Assets[i].Asset.Ledger == a.Ledger && file.Assets[i].Asset.Code == a.Code {
			return &file.Assets[i], nil
		}
	}
	return nil, fmt.Errorf("asset %s on ledger %s: %w", a.Code, a.Ledger, errConfig)
}

// openStore opens the DSN, or the embedded store in the data folder if there is none.
func openStore(ctx context.Context, dsn string, data path) (*store.Store, error) {
	if err := os.MkdirAll(string(data), dirMode); err != nil {
		return nil, err
	}
	if dsn == "" {
		dsn = "sqlite:" + filepath.Join(string(data), "store.db")
	}
	return store.Open(ctx, dsn)
}

func closeAll(all []func() error) error {
	var errs []error
	for _, end := range slices.Backward(all) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}
