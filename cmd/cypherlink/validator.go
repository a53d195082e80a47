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
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator/rules"
)

// validatorCommand runs the Cypherium Validator of one asset.
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

// validatorProcess judges and remembers: a ruling once given stands.
type validatorProcess struct {
	keys  *keys
	judge *rules.Judge
	store *store.Store
	close []func() error
}

func newValidator(ctx context.Context, c *validatorConfig, log *slog.Logger) (*validatorProcess, error) {
	k, err := c.Node.load()
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(string(c.RuleSet))
	if err != nil {
		return nil, err
	}
	set, err := rules.Compile(raw)
	if err != nil {
		return nil, err
	}
	asset, err := c.Asset.find(k.genesis)
	if err != nil {
		return nil, err
	}
	list, err := kyc.NewList(c.Screening)
	if err != nil {
		return nil, err
	}
	v := &validatorProcess{keys: k}
	names := newDirectory(k.genesis)
	v.judge, err = rules.NewJudge(rules.Options{
		Network: k.genesis.Network(), Self: k.self.ID, Asset: asset.Asset, Policy: asset.Policy,
		Set: set, List: list, Validity: int64(time.Duration(c.Valid) / time.Second),
	}, agreements{payment.NewRosters(k.genesis)}, names)
	if err != nil {
		return nil, err
	}
	if v.store, err = openStore(ctx, c.Store, c.Node.Data); err != nil {
		return nil, err
	}
	v.close = append(v.close, v.store.Close)
	listener, err := names.serve(ctx, c.Node.Listen, k.tls, log, v.answer)
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	v.close = append(v.close, listener.Close)
	return v, nil
}

// Run waits: the work is done in answers.
func (v *validatorProcess) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close ends the process, the last opened first.
func (v *validatorProcess) Close() error { return closeAll(v.close) }

func (v *validatorProcess) answer(
	ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte,
) ([]byte, error) {
	if kind != payment.KindVerdict {
		return nil, fmt.Errorf("kind %d: %w", kind, payment.ErrMessage)
	}
	request, err := payment.DecodeVerdictRequest(body)
	if err != nil {
		return nil, err
	}
	open, err := v.judge.Open(from, &rules.Request{
		Terms: request.Proof.Encode(), Leg: request.Leg, Told: request.Opened,
	})
	if err != nil {
		return nil, err
	}
	ruling, err := v.rule(ctx, open)
	if err != nil {
		return nil, err
	}
	return payment.EncodeVerdict(&ruling.Signed), nil
}

// rule gives the ruling that stands, or makes one and stores it before it is told.
func (v *validatorProcess) rule(ctx context.Context, c *rules.Case) (ruling *rules.Ruling, err error) {
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
		if ruling, err = v.judge.Decide(time.Now().Unix(), salt, c); err != nil {
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
