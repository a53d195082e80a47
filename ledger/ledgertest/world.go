package ledgertest

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

const (
	seedDomain  wire.Domain = "cypherlink/ledgertest-seed/v1"
	termsDomain wire.Domain = "cypherlink/ledgertest-terms/v1"
)

// Opening is what Alice, Bob and Mallory each hold at first, in minor units.
const Opening cypherlink.Amount = 1_000_000

// Actor is a participant with its Ed25519 identity key.
type Actor struct {
	ID      cypherlink.ParticipantID
	Key     [32]byte
	private ed25519.PrivateKey
}

// NewActor is the actor of that name: its key is a hash of the name.
func NewActor(name string) Actor {
	seed := wire.Sum(seedDomain, []byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	key := [32]byte(private[ed25519.SeedSize:])
	return Actor{ID: cypherlink.NewParticipantID(key), Key: key, private: private}
}

// Sign signs the frame. It never fails; the error makes Actor fit a ledger's port.
func (a Actor) Sign(f cosi.Frame) ([64]byte, error) {
	b := f.Encode()
	return [64]byte(ed25519.Sign(a.private, b[:])), nil
}

// Keys finds the keys of actors.
type Keys map[cypherlink.ParticipantID][32]byte

// Key is the actor's key; ok tells whether it is known.
func (k Keys) Key(id cypherlink.ParticipantID) (key [32]byte, ok bool) {
	key, ok = k[id]
	return key, ok
}

// World is who and what the contract needs on a ledger. A harness builds its ledger from it:
// the asset with its policy, the registered participants, the balances.
type World struct {
	// Network and Ledger name the ledger. A harness whose network has an id of its own sets
	// it.
	Network cypherlink.NetworkID
	Ledger  cypherlink.LedgerID
	// Asset asks for two of three Validators; Free, another asset, asks for none.
	Asset, Free cypherlink.Asset
	// Alice, Bob and Mallory are registered, with an account in each asset that holds
	// Opening. Stranger has neither.
	Alice, Bob, Mallory, Stranger Actor
	// Operator answers for the ledger, where it has an operator.
	Operator Actor
	// Validators are registered and have no account.
	Validators []Actor
	RuleSet    cypherlink.Hash
	// MinExpiry is the charter's, in seconds.
	MinExpiry int64
	// Number is that of everybody's account; a harness over channels sets ledger.ChannelNumber.
	Number uint32

	sequence atomic.Uint64
}

// NewWorld returns the same world each time.
func NewWorld() *World {
	const id = "de"
	return &World{
		Network:   cypherlink.NewNetworkID([]byte("ledgertest")),
		Ledger:    id,
		Asset:     cypherlink.Asset{Ledger: id, Code: "EUR", Scale: 2},
		Free:      cypherlink.Asset{Ledger: id, Code: "USD", Scale: 2},
		Alice:     NewActor("alice"),
		Bob:       NewActor("bob"),
		Mallory:   NewActor("mallory"),
		Stranger:  NewActor("stranger"),
		Operator:  NewActor("operator"),
		MinExpiry: 8,
		RuleSet:   wire.Sum(termsDomain, []byte("rule set")),
		Validators: []Actor{
			NewActor("validator 1"), NewActor("validator 2"), NewActor("validator 3"),
		},
	}
}

// Registered are the participants that may speak.
func (w *World) Registered() []Actor {
	return append([]Actor{w.Alice, w.Bob, w.Mallory, w.Operator}, w.Validators...)
}

// Charter is the ledger's, with a memory, as a network's is.
func (w *World) Charter() ledger.Charter {
	keys := Keys{}
	for _, a := range w.Registered() {
		keys[a.ID] = a.Key
	}
	policy := validator.Policy{Threshold: 2, RuleSet: w.RuleSet}
	for _, v := range w.Validators {
		policy.Validators = append(policy.Validators, v.ID)
	}
	return ledger.Charter{
		Network: w.Network, Ledger: w.Ledger, MinExpiry: w.MinExpiry, Keys: keys,
		Policies: map[cypherlink.Asset]validator.Policy{w.Asset: policy, w.Free: {}},
		Verifier: cosi.Remembering(),
	}
}

// Balances are those of the beginning.
func (w *World) Balances() []ledger.Balance {
	var all []ledger.Balance
	for _, asset := range []cypherlink.Asset{w.Asset, w.Free} {
		for _, a := range []Actor{w.Alice, w.Bob, w.Mallory} {
			all = append(all, ledger.Balance{Account: w.Account(a), Asset: asset, Amount: Opening})
		}
	}
	return all
}

// Account is the actor's only one in this world.
func (w *World) Account(a Actor) cypherlink.Account {
	return cypherlink.Account{Owner: a.ID, Number: w.Number}
}

// Account is the actor's in a world whose Number is zero.
func Account(a Actor) cypherlink.Account { return cypherlink.Account{Owner: a.ID} }

// Payment is a custody to be, with the preimage that confirms it.
type Payment struct {
	Subject  validator.Subject
	Preimage cypherlink.Preimage
	Packet   []byte
}

// Payment is the payment of that name: amount of Asset from Alice to Bob until expiry, in
// seconds since 1970. Its terms, preimage and packet depend on the name alone.
func (w *World) Payment(name string, amount cypherlink.Amount, expiry int64) Payment {
	preimage := cypherlink.Preimage(wire.Sum(seedDomain, []byte("preimage of "+name)))
	return Payment{
		Subject: validator.Subject{
			Terms: wire.Sum(termsDomain, []byte(name)),
			Fields: terms.Leg{
				Asset: w.Asset, Debit: w.Account(w.Alice), Credit: w.Account(w.Bob),
				Amount: amount, Expiry: expiry,
			},
			Condition: preimage.Condition(),
		},
		Preimage: preimage,
		Packet:   fmt.Appendf(nil, "packet of %s", name),
	}
}

// ID is the custody's.
func (w *World) ID(p Payment) ledger.CustodyID {
	return ledger.NewCustodyID(w.Network, p.Subject.Terms, p.Subject.Leg)
}

// Sign makes a signed command, with a sequence of its own.
func (w *World) Sign(by Actor, command ledger.Command) *ledger.SignedCommand {
	c := &ledger.SignedCommand{
		Network: w.Network, Ledger: w.Ledger, Signer: by.ID,
		Sequence: w.sequence.Add(1), Command: command,
	}
	Resign(by, c)
	return c
}

// Resign signs the command again, after a change, as whoever it says the signer is.
func Resign(by Actor, c *ledger.SignedCommand) {
	f := c.Frame().Encode()
	c.Signature = [64]byte(ed25519.Sign(by.private, f[:]))
}

// Prepare is Alice's command, with the verdicts that its asset's policy asks for.
func (w *World) Prepare(p Payment) *ledger.SignedCommand {
	return w.Sign(w.Alice, &ledger.Prepare{
		Subject: p.Subject, Packet: p.Packet, Verdicts: w.Verdicts(p.Subject),
	})
}

// Confirm is a command with the payment's preimage.
func (w *World) Confirm(by Actor, p Payment) *ledger.SignedCommand {
	return w.Sign(by, &ledger.Confirm{ID: w.ID(p), Preimage: p.Preimage})
}

// Return is a command to give the payment's value back.
func (w *World) Return(by Actor, p Payment) *ledger.SignedCommand {
	return w.Sign(by, &ledger.Return{ID: w.ID(p)})
}

// Approval is a good verdict on the subject, valid until the subject's expiry.
func (w *World) Approval(s validator.Subject) validator.Verdict {
	return validator.Verdict{
		Subject: s, ValidUntil: s.Fields.Expiry, RuleSet: w.RuleSet, Outcome: validator.Approved,
	}
}

// Signed is the verdict under the actor's signature.
func (w *World) Signed(by Actor, v validator.Verdict) validator.Signed {
	f := v.Frame(w.Network).Encode()
	return validator.Signed{
		Verdict: v, Validator: by.ID, Signature: [64]byte(ed25519.Sign(by.private, f[:])),
	}
}

// Verdicts are two approvals of the subject.
func (w *World) Verdicts(s validator.Subject) []validator.Signed {
	v := w.Approval(s)
	return slices.Clip([]validator.Signed{w.Signed(w.Validators[0], v), w.Signed(w.Validators[1], v)})
}
