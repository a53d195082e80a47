package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// EndorserOptions make an Endorser. Every field is needed.
type EndorserOptions struct {
	Network cypherlink.NetworkID
	// Self is the Validator.
	Self cypherlink.ParticipantID
	// Follower shows the chain as the Validator itself has verified it.
	Follower Follower
	Store    *store.Store
	// Identity signs updates, Cosigner joint actions.
	Identity sign.Signer[[64]byte]
	Cosigner sign.Signer[cosi.Signature]
}

// Endorser is a Validator's side of channels (rule V): it signs the updates of lanes, which it
// records before, and joint actions. It is safe for concurrent use. What it refuses with
// channels.V's code and reason ED06 it may grant later, once its follower is further.
type Endorser struct{ o EndorserOptions }

// NewEndorser refuses with ErrOptions what cannot work.
func NewEndorser(o EndorserOptions) (*Endorser, error) {
	if o.Follower == nil || o.Store == nil || o.Identity == nil || o.Cosigner == nil {
		return nil, fmt.Errorf("a part is missing: %w", ErrOptions)
	}
	return &Endorser{o}, nil
}

// Endorse answers KindEndorse of a participant whom the caller has authenticated. The cheap checks
// come first; what they pass and the verdicts warrant is recorded, and then signed.
func (e *Endorser) Endorse(ctx context.Context, from cypherlink.ParticipantID, body []byte) ([]byte, error) {
	r, err := DecodeEndorseRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	v, err := e.view(r.Update.Channel)
	if err != nil {
		return nil, err
	}
	d, refusal := r.draft(e.o.Network, &v.Channel)
	if refusal != nil {
		return nil, refusal
	}
	again := false
	err = e.o.Store.View(ctx, func(r *store.Reader) (err error) {
		again, err = v.Channel.Endorse(e.o.Self, from, d, endorsed{r})
		return err
	})
	if err != nil {
		return nil, err
	}
	if !again {
		if refusal := e.activeBanks(&v.Channel, d); refusal != nil {
			return nil, refusal
		}
		refusal := r.approved(e.o.Network, v.Channel.Asset, e.o.Follower.Registry(), v.Now.S)
		if refusal != nil {
			return nil, refusal
		}
		if err := e.record(ctx, from, &v.Channel, d); err != nil {
			return nil, err
		}
	}
	signature, err := e.o.Identity.SignRecorded(d.Update.Frame(e.o.Network))
	return signature[:], err
}

// activeBanks refuses new payments between banks of which one is suspended. What ends earlier ones is
// never refused.
func (e *Endorser) activeBanks(c *channels.Channel, d *channels.Draft) *cypherlink.Error {
	if len(d.Payments) == 0 {
		return nil
	}
	roll := e.o.Follower.Registry()
	for _, bank := range c.Banks {
		if _, status := roll.Signer(bank); status != ledger.Active {
			return refuse(channels.V.Code(), "AG10", fmt.Sprintf("V: bank %s is %s", bank, status), nil)
		}
	}
	return nil
}

// record makes an endorsement durable, unless rule V does not allow it any more.
func (e *Endorser) record(
	ctx context.Context, from cypherlink.ParticipantID, c *channels.Channel, d *channels.Draft,
) error {
	return e.o.Store.Update(ctx, func(tx *store.Tx) error {
		again, err := c.Endorse(e.o.Self, from, d, endorsed{&tx.Reader})
		if err != nil || again {
			return err
		}
		return keepEndorsed(tx, d)
	})
}

// view is the channel as the follower shows it.
func (e *Endorser) view(id channels.ID) (channels.View, error) {
	v, err := e.o.Follower.View(id, nil)
	if errors.Is(err, state.ErrUnknown) {
		return v, unwarranted("ED06", "the channel is not known here", nil)
	}
	return v, err
}

// Join answers KindJoin of a participant whom the caller has authenticated.
func (e *Endorser) Join(ctx context.Context, from cypherlink.ParticipantID, body []byte) ([]byte, error) {
	r, err := DecodeJoinRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	banks, asset, err := e.mayJoin(ctx, &r.Joint)
	if err != nil {
		return nil, err
	}
	registry := e.o.Follower.Registry()
	policy, ok := registry.Policy(asset)
	switch {
	case !slices.Contains(banks[:], from):
		return nil, unwarranted("DS0H", "the joint action is of other banks", nil)
	case !ok || !slices.Contains(policy.Validators, e.o.Self):
		return nil, unwarranted("DS0H", "the asset is another Validator's", nil)
	}
	roster, err := state.JointRoster(registry.Registry, banks, asset)
	if err != nil {
		return nil, unwarranted("DS0E", "the banks and Validators make no roster", err)
	}
	frame := r.Joint.Frame(e.o.Network, roster.Root())
	for i, share := range r.Shares {
		if err := roster.VerifyShare(frame, i, share); err != nil {
			return nil, unwarranted("DS0B", "a bank's signature is wrong", err)
		}
	}
	signature, err := e.o.Cosigner.SignRecorded(frame)
	return signature[:], err
}

// mayJoin gives the banks and the asset of a joint action that rule V lets be signed.
func (e *Endorser) mayJoin(
	ctx context.Context, j *channels.Joint,
) (banks [2]cypherlink.ParticipantID, asset cypherlink.Asset, err error) {
	if o, ok := j.Do.(channels.Open); ok {
		h := e.o.Follower.Head()
		now := channels.Time{S: h.TimeMS / 1000, Height: h.Height}
		return o.Banks, o.Asset, j.CosignOpen(e.o.Network, now)
	}
	v, err := e.view(j.Channel)
	if err == nil {
		err = e.o.Store.View(ctx, func(r *store.Reader) error {
			return v.Channel.Cosign(v.Now, j, endorsed{r})
		})
	}
	return v.Channel.Banks, v.Channel.Asset, err
}

// endorsed is what a Validator has endorsed, in its store. It implements channels.Endorsed.
type endorsed struct{ *store.Reader }

// Update implements channels.Endorsed.
func (e endorsed) Update(hash cypherlink.Hash) (*channels.Update, error) {
	var content []byte
	err := e.QueryRow(`SELECT content FROM endorsed_updates WHERE hash = $1`, hash[:]).Scan(&content)
	if errors.Is(err, store.ErrNoRow) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(content)
	u := channels.ReadUpdate(r)
	if err := r.End(); err != nil || u.Hash != hash {
		return nil, fmt.Errorf("endorsed update %s: %w", hash, errors.Join(channels.ErrForm, err))
	}
	return &u, nil
}

// Carriers implements channels.Endorsed.
func (e endorsed) Carriers(lane, payment cypherlink.Hash) ([]cypherlink.Hash, error) {
	var all []cypherlink.Hash
	for row := range e.Query(
		`SELECT endorsed FROM endorsed_payments WHERE lane = $1 AND payment = $2 LIMIT $3`,
		lane[:], payment[:], channels.MaxCarriers,
	) {
		var hash []byte
		if err := row.Scan(&hash); err != nil {
			return nil, err
		}
		if len(hash) != len(cypherlink.Hash{}) {
			return nil, fmt.Errorf("payment %s in update %x: %w", payment, hash, channels.ErrForm)
		}
		all = append(all, cypherlink.Hash(hash))
	}
	return all, nil
}

// keepEndorsed records an update that will be endorsed, and the payments that it carries.
func keepEndorsed(tx *store.Tx, d *channels.Draft) error {
	u := &d.Update
	w := wire.NewWriter(256)
	u.AppendWire(w)
	_, err := tx.Exec(`INSERT INTO endorsed_updates (hash, content) VALUES ($1, $2)`, u.Hash[:], w.Bytes())
	lane := channels.LaneScope(u.Channel, u.Lane)
	for i := range d.Payments {
		if err == nil {
			_, err = tx.Exec(`INSERT INTO endorsed_payments (lane, payment, endorsed) VALUES ($1, $2, $3)`,
				lane[:], d.Payments[i][:], u.Hash[:])
		}
	}
	return err
}
