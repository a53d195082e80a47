package payment

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// draft is the request as rule V takes it, if each Pay and Lock is what its warrant says. The
// verdicts are not looked at.
func (e *EndorseRequest) draft(
	network cypherlink.NetworkID, c *channels.Channel,
) (*channels.Draft, *cypherlink.Error) {
	d := &channels.Draft{Update: e.Update, Operations: e.Operations, Prev: e.Prev, Locks: e.Locks}
	warrants := e.Warrants
	for _, op := range e.Operations {
		switch op.(type) {
		case channels.Pay, channels.Lock:
		case channels.Settle, channels.Unlock:
			continue
		}
		if len(warrants) == 0 {
			return nil, unwarranted("FF01", "a payment has no warrant", nil)
		}
		w := &warrants[0]
		if refusal := w.covers(network, c, e.Update.Lane, op); refusal != nil {
			return nil, refusal
		}
		d.Payments, warrants = append(d.Payments, w.Subject.Terms), warrants[1:]
	}
	if len(warrants) > 0 {
		return nil, unwarranted("FF01", "a warrant has no payment", nil)
	}
	return d, nil
}

// unwarranted is a refusal by rule V.
func unwarranted(reason, message string, cause error) *cypherlink.Error {
	return refuse(channels.V.Code(), reason, string(channels.V)+": "+message, cause)
}

// covers reports what an operation in a lane does that its warrant does not say.
func (w *Warrant) covers(
	network cypherlink.NetworkID, c *channels.Channel, lane channels.Side, op channels.Operation,
) *cypherlink.Error {
	t := w.Terms
	if t != nil && (t.Network != network || len(t.Legs) != 1 || subject(t, terms.Source) != w.Subject) {
		return unwarranted("FF01", "the terms are another network's, or of another leg", nil)
	}
	switch leg := &w.Subject.Fields; {
	case leg.Asset != c.Asset:
		return unwarranted("AM03", "the leg is in another asset", nil)
	case leg.Debit.Owner != c.Banks[lane] || leg.Credit.Owner != c.Banks[lane.Other()]:
		return unwarranted("AGNT", "the leg is not from the lane's payer to its payee", nil)
	case !w.moves(network, op):
		return unwarranted("AM09", "the operation is not what was agreed", nil)
	}
	return nil
}

// moves tells whether the operation moves the leg as it was agreed: at once by terms without a
// condition, as LockOf the leg where there is one.
func (w *Warrant) moves(network cypherlink.NetworkID, op channels.Operation) bool {
	if t := w.Terms; t != nil {
		return t.Condition == (cypherlink.Condition{}) &&
			op == channels.Pay{Payment: t.UETR, Amount: t.Legs[terms.Source].Amount, Terms: t.Hash()}
	}
	lock, ok := LockOf(network, &w.Subject)
	return ok && op == lock
}

// LockOf is the lock as which a leg moves; ok tells whether it moves as one: under a condition, between
// accounts that stand for what their owners have in channels.
func LockOf(network cypherlink.NetworkID, s *validator.Subject) (lock channels.Lock, ok bool) {
	leg := &s.Fields
	lock = channels.Lock{
		ID:     channels.LockID(ledger.NewCustodyID(network, s.Terms, s.Leg)),
		Amount: leg.Amount, Condition: s.Condition, Expiry: leg.Expiry,
	}
	return lock, s.Condition != (cypherlink.Condition{}) && ledger.InChannel(leg)
}

// approved reports a warrant without the verdicts that the asset asks for by this registry, at a
// block time in seconds since 1970.
func (e *EndorseRequest) approved(
	network cypherlink.NetworkID, asset cypherlink.Asset, by chain.Roll, now int64,
) *cypherlink.Error {
	policy, ok := by.Policy(asset)
	if !ok {
		return unwarranted("AM03", "the registry has no such asset", nil)
	}
	for i := range e.Warrants {
		w := &e.Warrants[i]
		err := policy.Check(network, w.Subject, w.Verdicts, by, cosi.VerifyEd25519Batch, now)
		if err != nil {
			return unwarranted("DS0A", "the asset's validators have not approved a payment", err)
		}
	}
	return nil
}
