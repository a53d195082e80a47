package iso20022

import (
	"time"

	"github.com/cypherlink/cypherlink"
)

// Money is an amount and its ISO 4217 currency, whose digits fix the minor unit. The zero
// value is no money.
type Money struct {
	Currency string
	Amount   cypherlink.Amount
}

// Agent is a bank. A field that the message leaves out is zero.
type Agent struct {
	BIC cypherlink.BIC
	// ClearingSystem and Member name the bank in a national clearing system, such as USABA
	// and its routing number.
	ClearingSystem, Member string
	LEI                    cypherlink.LEI
	Name                   string
}

// Party is a customer or who acts behind one. A field that the message leaves out is zero.
type Party struct {
	Name string // at most 140 characters
	// Country and Town are those of the postal address.
	Country, Town string
	LEI           cypherlink.LEI
	BIC           cypherlink.BIC // AnyBIC of an organisation
}

// IsZero tells whether the message names no such party.
func (p Party) IsZero() bool { return p == Party{} }

// Account is a customer's account: an IBAN or another number, never both. The zero value is
// no account.
type Account struct {
	IBAN  cypherlink.IBAN
	Other string // at most 34 characters
}

// IsZero tells whether the message names no account.
func (a Account) IsZero() bool { return a == Account{} }

// decoder turns validated elements into values. It keeps the first error: there is none
// unless the schema table and this code disagree.
type decoder struct{ err error }

func (d *decoder) keep(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) bic(e *element) (b cypherlink.BIC) {
	if e != nil {
		v, err := cypherlink.ParseBIC(e.text)
		d.keep(err)
		b = v
	}
	return b
}

func (d *decoder) lei(e *element) (l cypherlink.LEI) {
	if e != nil {
		v, err := cypherlink.ParseLEI(e.text)
		d.keep(err)
		l = v
	}
	return l
}

func (d *decoder) uetr(e *element) (u cypherlink.UETR) {
	if e != nil {
		v, err := cypherlink.ParseUETR(e.text)
		d.keep(err)
		u = v
	}
	return u
}

func (d *decoder) money(e *element) Money {
	m, err := e.money()
	d.keep(err)
	return m
}

// agent reads a branch and financial institution identification.
func (d *decoder) agent(e *element) Agent {
	bank := e.at("FinInstnId")
	bic := bank.at("BICFI")
	if bic == nil {
		bic = bank.at("BIC") // pacs.002.001.03
	}
	member := bank.at("ClrSysMmbId")
	return Agent{
		BIC: d.bic(bic), ClearingSystem: member.choice("ClrSysId"), Member: member.textAt("MmbId"),
		LEI: d.lei(bank.at("LEI")), Name: bank.textAt("Nm"),
	}
}

// choice is the code or the proprietary text in the child of that name.
func (e *element) choice(name string) string {
	c := e.at(name)
	if code := c.textAt("Cd"); code != "" {
		return code
	}
	return c.textAt("Prtry")
}

// party reads a party identification.
func (d *decoder) party(e *element) Party {
	organisation := e.at("Id", "OrgId")
	return Party{
		Name: e.textAt("Nm"), Country: e.textAt("PstlAdr", "Ctry"), Town: e.textAt("PstlAdr", "TwnNm"),
		LEI: d.lei(organisation.at("LEI")), BIC: d.bic(organisation.at("AnyBIC")),
	}
}

// account reads a cash account.
func (d *decoder) account(e *element) Account {
	id := e.at("Id")
	a := Account{Other: id.textAt("Othr", "Id")}
	if iban := id.at("IBAN"); iban != nil {
		v, err := cypherlink.ParseIBAN(iban.text)
		d.keep(err)
		a.IBAN = v
	}
	return a
}

// time is the date and time in e, or the zero time. Without an offset it counts as UTC.
func (e *element) time() time.Time {
	if e == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, e.text)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", e.text)
	}
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
