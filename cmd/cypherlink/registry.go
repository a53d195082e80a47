package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger-adapters/chainledger"
)

// registryCommand reads the registry of participants, and changes it under a certificate of the scheme's
// authorities (decision 14): one drafts a change, as many as it takes sign it, and anyone of them hands it
// in. Who is registered with other keys than those of genesis cannot run its processes yet, so no command
// registers or gives other keys.
type registryCommand struct {
	Show   showRegistry `cmd:"" help:"Print the registry as the chain has it now."`
	Draft  draftChange  `cmd:"" help:"Write a change into a file, for the authorities to sign."`
	Read   readChange   `cmd:"" help:"Say what a change does, and who has signed it."`
	Sign   signChange   `cmd:"" help:"Add this authority's signature to a change."`
	Submit submitChange `cmd:"" help:"Hand in a change that enough authorities have signed."`
}

// registrarOptions are how a command reaches the chain.
type registrarOptions struct {
	Config string        `help:"Configuration file of an authority." required:"" type:"existingfile"`
	Within time.Duration `help:"How long the chain may take to answer." default:"30s"`
}

// registrar is an authority with its own copy of the chain.
type registrar struct {
	keys *keys
	data path
	copy *chainCopy
	// registry is that of the chain, at most registryLag older than the command.
	registry chain.Roll
}

// with runs a command with a copy of the chain that is up to now.
func (o *registrarOptions) with(s *session, run func(ctx context.Context, r *registrar) error) (err error) {
	var config memberConfig
	if err := readConfig(o.Config, &config); err != nil {
		return refusal{err}
	}
	k, err := config.Node.load()
	if err != nil {
		return refusal{err}
	}
	if k.self.Role != chain.RoleAuthority {
		return refusal{fmt.Errorf("%s is a %s, and no authority", k.self.Name, k.self.Role)}
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelError}))
	r := &registrar{keys: k, data: config.Node.Data}
	if r.copy, err = openChainCopy(&config.Node, k, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.copy.Close()) }()
	ctx, cancel := context.WithTimeout(s, o.Within)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	following, done := context.WithCancel(ctx)
	group.Go(func() error { return r.copy.follow.Run(following) })
	group.Go(func() error {
		defer done()
		if err := r.upToNow(ctx); err != nil {
			return err
		}
		return run(ctx, r)
	})
	return group.Wait()
}

// registryLag is how old the registry may be that a command goes by. What has changed since then, the chain
// says when the change is handed in.
const registryLag = 5 * time.Second

// upToNow waits for a block of about now.
func (r *registrar) upToNow(ctx context.Context) error {
	began := time.Now().Add(-registryLag).UnixMilli()
	for {
		changed, head := r.copy.follow.Changed(), r.copy.follow.Head()
		if head.TimeMS >= began {
			r.registry = r.copy.follow.Registry()
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the last block known here is %d, of %s: %w",
				head.Height, time.UnixMilli(head.TimeMS).UTC().Format(time.RFC3339), context.Cause(ctx))
		}
	}
}

type showRegistry struct{ registrarOptions }

// Run prints who is registered and what the assets ask for.
func (c *showRegistry) Run(s *session) error {
	return c.with(s, func(_ context.Context, r *registrar) error { return printRegistry(s.out, r.registry) })
}

func printRegistry(out io.Writer, r chain.Roll) error {
	fmt.Fprintf(out, "version %d; a change takes %s\n\n", r.Version(), needed(r.Authorities()))
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "participant\tname\trole\tBIC\tstatus")
	for _, p := range r.Records() {
		_, status := r.Signer(p.ID)
		bic := ""
		if !p.BIC.IsZero() {
			bic = p.BIC.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.ID, p.Name, p.Role, bic, status)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	fmt.Fprintln(t, "asset\tlabel\tapprovals\tof the Validators")
	for _, a := range r.Assets() {
		fmt.Fprintf(t, "%s:%s\t%s\t%d\t%s\n", a.Asset.Ledger, a.Asset.Code, a.Label, a.Policy.Threshold,
			names(r.Registry, a.Policy.Validators))
	}
	return t.Flush()
}

// needed says how many of the authorities sign a change.
func needed(r *cosi.Roster) string {
	need := 0
	for need < r.Len() && r.Satisfied(upTo(need)) != nil {
		need++
	}
	return fmt.Sprintf("%d of %d authorities", need, r.Len())
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func names(r *chain.Registry, ids []cypherlink.ParticipantID) string {
	var all []string
	for _, id := range ids {
		all = append(all, nameOf(r, id))
	}
	return strings.Join(all, ", ")
}

func nameOf(r *chain.Registry, id cypherlink.ParticipantID) string {
	if rec, ok := r.Participant(id); ok {
		return rec.Name
	}
	return id.String()
}

type readChange struct {
	registrarOptions
	Change string `arg:"" help:"File of the change." type:"existingfile"`
}

// Run says what the change does, if the registry would take it, and who has signed that.
func (c *readChange) Run(s *session) error {
	return c.with(s, func(_ context.Context, r *registrar) error {
		d, err := readDraft(c.Change)
		if err == nil {
			err = d.check(r)
		}
		if err != nil {
			return refusal{err}
		}
		d.tell(s.out, r)
		return nil
	})
}

// tell says what the change does, and whose signatures hold.
func (d *draft) tell(out io.Writer, r *registrar) {
	fmt.Fprintf(out, "%s\nversion %d after %d; it takes %s", d.words(r.registry.Registry), d.version, d.base,
		needed(r.registry.Authorities()))
	if signed := d.signers(r); len(signed) > 0 {
		fmt.Fprintf(out, "; signed by %s", names(r.registry.Registry, signed))
	}
	fmt.Fprintln(out)
}

type signChange struct {
	registrarOptions
	Change string `arg:"" help:"File of the change." type:"existingfile"`
}

// Run says what is to be signed, and signs it.
func (c *signChange) Run(s *session) error {
	return c.with(s, func(ctx context.Context, r *registrar) error {
		d, err := readDraft(c.Change)
		if err == nil {
			err = d.check(r)
		}
		if err != nil {
			return refusal{err}
		}
		own := r.keys.self.ID
		if _, ok := r.registry.Authorities().Index(own); !ok {
			return refusal{fmt.Errorf("%s is no active authority", r.keys.self.Name)}
		}
		switch d.change.(type) {
		case *chain.Register, *chain.Rotate:
			return refusal{fmt.Errorf("%s: no command drafts that, and its keys are not shown here",
				d.words(r.registry.Registry))}
		case *chain.Suspend, *chain.Resume, *chain.Revoke, *chain.SetPolicy:
		}
		d.tell(s.out, r)
		if err := r.signOnce(ctx, d); err != nil {
			return err
		}
		share, err := r.keys.cosigning.SignRecorded(r.registry.Frame(d.version, d.change))
		if err != nil {
			return err
		}
		d.shares[own] = share
		if err := d.write(c.Change); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "signed by %s\n", names(r.registry.Registry, d.signers(r)))
		return nil
	})
}

// signOnce records the change before it is signed. An authority signs one change for a version.
func (r *registrar) signOnce(ctx context.Context, d *draft) (err error) {
	kept, err := openStore(ctx, "", r.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	certified := chain.CertifiedChange{Base: d.base, Change: d.change}
	hash, slot := certified.Hash(), fmt.Sprintf("registry_signed/%d", d.version)
	return kept.Update(ctx, func(tx *store.Tx) error {
		before, err := tx.Get(slot)
		switch {
		case err != nil:
			return err
		case before == nil:
			return tx.Put(slot, hash[:])
		case !slices.Equal(before, hash[:]):
			return refusal{fmt.Errorf("%s has signed another change for version %d; draft this one with "+
				"--version %d", r.keys.self.Name, d.version, d.version+1)}
		}
		return nil
	})
}

type submitChange struct {
	registrarOptions
	Change string `arg:"" help:"File of the change." type:"existingfile"`
}

// Run makes a certificate of the signatures, and waits until the chain has the change.
func (c *submitChange) Run(s *session) error {
	return c.with(s, func(ctx context.Context, r *registrar) error {
		d, err := readDraft(c.Change)
		if err != nil {
			return refusal{err}
		}
		if r.registry.Version() == d.version && d.stands(r.registry.Registry) {
			fmt.Fprintf(s.out, "version %d already: %s\n", d.version, d.words(r.registry.Registry))
			return nil
		}
		if err := d.check(r); err != nil {
			return refusal{err}
		}
		certificate, err := d.certify(r)
		if err != nil {
			return refusal{err}
		}
		committee, err := chainledger.New(r.keys.genesis, r.copy.follow, r.copy.members)
		if err != nil {
			return err
		}
		body := state.RegistryChange{Certified: &chain.CertifiedChange{
			Base: d.base, Version: d.version, Change: d.change, Certificate: certificate,
		}}
		err = committee.HandIn(ctx, body, func() (bool, error) {
			return r.copy.follow.Registry().Version() >= d.version, nil
		})
		if err != nil {
			return err
		}
		now := r.copy.follow.Registry()
		if now.Version() != d.version || !d.stands(now.Registry) {
			return fmt.Errorf("the registry is at version %d, by another change", now.Version())
		}
		fmt.Fprintf(s.out, "version %d: %s\n", d.version, d.words(now.Registry))
		return nil
	})
}
