package ledger_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

// roll is a registry of which everybody is active who is not named.
type roll struct {
	validator.Keys
	status map[cypherlink.ParticipantID]ledger.Status
}

// Signer implements ledger.Signers.
func (r roll) Signer(id cypherlink.ParticipantID) (key [32]byte, status ledger.Status) {
	key, ok := r.Key(id)
	if !ok {
		return key, ledger.Unknown
	}
	if status, ok := r.status[id]; ok {
		return key, status
	}
	return key, ledger.Active
}

// enrolled is a desk with a registry.
func enrolled() (*desk, map[cypherlink.ParticipantID]ledger.Status) {
	d := newDesk()
	status := map[cypherlink.ParticipantID]ledger.Status{}
	d.charter.Signers = roll{d.charter.Keys, status}
	return d, status
}

// Whoever is not active begins nothing, as payer or as payee.
func TestWhoMayBegin(t *testing.T) {
	tests := []struct {
		status ledger.Status
		payer  cypherlink.Code
		reason string
	}{
		{ledger.Suspended, ledger.CodeSuspended, "AG10"},
		{ledger.NotValid, ledger.CodeNotValid, "DS0D"},
		{ledger.Revoked, ledger.CodeRevoked, "DS0C"},
	}
	for _, tt := range tests {
		t.Run(tt.status.String(), func(t *testing.T) {
			d, status := enrolled()
			old := d.Prepare(d.Payment("old", 10, expiry))
			d.must(t, old)
			status[d.Alice.ID] = tt.status
			d.refused(t, d.Prepare(d.Payment("one", 10, expiry)), tt.payer)
			if tt.status != ledger.Revoked { // what stands comes first
				d.repeated(t, old, ledger.Prepared)
			}
			delete(status, d.Alice.ID)
			status[d.Bob.ID] = tt.status
			toBob := d.Prepare(d.Payment("one", 10, expiry))
			d.refused(t, toBob, ledger.CodePayeeBarred)
			_, err := d.do(toBob)
			if refusal, _ := errors.AsType[*cypherlink.Error](err); refusal.Reason != "AG11" ||
				cypherlink.ErrorCode(refusal.Err) != tt.payer {
				t.Fatalf("%+v", refusal)
			}
			if refusal, ok := errors.AsType[*cypherlink.Error](refusalOf(d, tt.status)); !ok ||
				refusal.Reason != tt.reason {
				t.Fatalf("%+v, want %s", refusal, tt.reason)
			}
			delete(status, d.Bob.ID)
			d.must(t, toBob)
		})
	}
}

// refusalOf is what Mallory is told who pays nobody and has that status.
func refusalOf(d *desk, s ledger.Status) error {
	d.charter.Signers = roll{d.charter.Keys, map[cypherlink.ParticipantID]ledger.Status{d.Mallory.ID: s}}
	defer func() { d.charter.Signers = roll{d.charter.Keys, nil} }()
	_, err := d.do(d.Return(d.Mallory, d.Payment("old", 10, expiry)))
	return err
}

// What is under way ends: by those who are party to it, by anybody active, by its expiry.
func TestWhoMayEnd(t *testing.T) {
	tests := []struct {
		name   string
		by     func(d *desk) ledgertest.Actor
		status ledger.Status
		// code refuses the confirmation, and the return where that would be allowed
		code cypherlink.Code
	}{
		{"the payee while suspended", bob, ledger.Suspended, ""},
		{"the payee while not valid", bob, ledger.NotValid, ""},
		{"the payee once revoked", bob, ledger.Revoked, ledger.CodeRevoked},
		{"the payer while suspended", alice, ledger.Suspended, ""},
		{"the payer once revoked", alice, ledger.Revoked, ledger.CodeRevoked},
		{"another one while suspended", mallory, ledger.Suspended, ledger.CodeSuspended},
		{"another one while not valid", mallory, ledger.NotValid, ledger.CodeNotValid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, status := enrolled()
			p, q := d.Payment("one", 10, expiry), d.Payment("two", 20, expiry)
			d.must(t, d.Prepare(p))
			d.must(t, d.Prepare(q))
			by := tt.by(d)
			status[by.ID] = tt.status
			if tt.code != "" {
				d.refused(t, d.Confirm(by, p), tt.code)
				d.refused(t, d.Return(by, q), tt.code)
				d.must(t, d.Confirm(d.Operator, p)) // anybody active who knows the preimage
				d.balances(t, -30, 10)
			} else {
				d.must(t, d.Confirm(by, p))
				d.balances(t, -30, 10)
				if by.ID == d.Bob.ID {
					d.must(t, d.Return(by, q))
					d.balances(t, -10, 10)
				} else {
					d.refused(t, d.Return(by, q), ledger.CodeNotAllowed)
				}
			}
			d.nowMS = expiry * 1000
			if err := d.expire(); err != nil {
				t.Fatal(err)
			}
			d.balances(t, -10, 10)
		})
	}
}

func alice(d *desk) ledgertest.Actor   { return d.Alice }
func bob(d *desk) ledgertest.Actor     { return d.Bob }
func mallory(d *desk) ledgertest.Actor { return d.Mallory }

// Who is party to a custody, the custody says: none, no right.
func TestASuspendedSignerOfNothing(t *testing.T) {
	d, status := enrolled()
	status[d.Bob.ID] = ledger.Suspended
	d.refused(t, d.Confirm(d.Bob, d.Payment("none", 10, expiry)), ledger.CodeUnknownCustody)
	d.refused(t, d.Return(d.Bob, d.Payment("none", 10, expiry)), ledger.CodeUnknownCustody)
	d.refused(t, d.Confirm(d.Stranger, d.Payment("none", 10, expiry)), ledger.CodeUnknownSigner)
	if got := fmt.Sprint(ledger.Unknown, ledger.Active, ledger.Status(9)); got != "unknown active status 9" {
		t.Fatal(got)
	}
}
