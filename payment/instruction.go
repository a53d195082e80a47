package payment

import (
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/kyc"
)

// Format is the form in which an instruction came.
type Format uint8

// The formats.
const (
	JSON Format = 1
	// XML is a pacs.008, bare or in one of the wrappers that iso20022.Parse takes.
	XML Format = 2
)

// Instruction is what a customer's bank is told to pay, in one form whatever it came in.
type Instruction struct {
	UETR       cypherlink.UETR
	EndToEndID string
	// Returns is the payment that this one brings back, by the bank's own order; zero for every
	// payment of a customer.
	Returns cypherlink.UETR
	// Original names the pacs.008 and its transaction, for the answer to it; zero for JSON.
	Original iso20022.OriginalMessage
	// InstructionID and TransactionID are InstrId and TxId of a pacs.008.
	InstructionID, TransactionID string
	// Instructing sent the pacs.008; zero for JSON. Via are its intermediary agents.
	Instructing cypherlink.BIC
	Via         []cypherlink.BIC
	// DebtorAgent and CreditorAgent are the two banks.
	DebtorAgent, CreditorAgent cypherlink.BIC
	Debtor, Creditor           kyc.Party
	// Asset is what the creditor is to get, as the instruction names it: a label such as
	// "DC/EP", a code such as "CNY", or both code and ledger as "CNY@cypherium". Amount is the
	// decimal text.
	Asset, Amount       string
	Purpose, Remittance string
}

// Bounds of an instruction's texts, in bytes, beside those of package kyc.
const (
	maxID   = 35 * 4
	maxName = 140 * 4
	maxVia  = 3
	maxText = 64
)

// fromCreditTransfer is the instruction in a pacs.008 that CheckUsage accepted.
func fromCreditTransfer(m *iso20022.Message, c *iso20022.CreditTransfer) *Instruction {
	digits, _ := cypherlink.CurrencyDigits(c.Settlement.Currency) // CheckUsage knows it
	i := &Instruction{
		UETR: c.UETR, EndToEndID: c.EndToEndID,
		Original: iso20022.OriginalMessage{
			MessageID: c.MessageID, Definition: m.Definition, Created: c.Created,
		},
		InstructionID: c.InstructionID, TransactionID: c.TransactionID,
		Instructing: c.InstructingAgent.BIC,
		DebtorAgent: c.DebtorAgent.BIC, CreditorAgent: c.CreditorAgent.BIC,
		Debtor: party(c.Debtor, c.DebtorAccount), Creditor: party(c.Creditor, c.CreditorAccount),
		Asset: c.Settlement.Currency, Amount: c.Settlement.Amount.Format(digits),
		Purpose: c.Purpose, Remittance: strings.Join(c.Remittance, " "),
	}
	for _, a := range c.IntermediaryAgents {
		i.Via = append(i.Via, a.BIC)
	}
	return i
}

func party(p iso20022.Party, a iso20022.Account) kyc.Party {
	return kyc.Party{
		Name: p.Name, Country: p.Country, Town: p.Town, LEI: p.LEI,
		Account: kyc.Account{IBAN: a.IBAN, Other: a.Other},
	}
}

// disclosure is what the paying bank tells about the instruction, still without salts.
func (i *Instruction) disclosure() *kyc.Disclosure {
	return &kyc.Disclosure{
		Debtor: i.Debtor, Creditor: i.Creditor,
		Purpose: i.Purpose, Reference: i.EndToEndID, Remittance: i.Remittance,
	}
}

// check reports what no bank can carry: a field that a disclosure cannot hold, or no agent.
func (i *Instruction) check() error {
	fault := func(code cypherlink.Code, reason, at, message string, cause error) error {
		return &cypherlink.Error{
			Code: code, Reason: reason, Pointer: i.pointer(at), Message: message, Err: cause,
		}
	}
	if _, err := i.UETR.MarshalText(); err != nil {
		return fault(iso20022.CodeMissing, "CH21", "/uetr", "the UETR is missing or malformed", err)
	}
	if i.EndToEndID == "" {
		return fault(iso20022.CodeMissing, "FF08", "/end_to_end_id", "the end-to-end id is missing", nil)
	}
	for _, f := range i.fields() {
		if err := f.field.Check(f.text); err != nil {
			return fault(iso20022.CodeValue, f.reason, f.pointer, "the text is not allowed", err)
		}
		if f.text == "" && f.needed {
			return fault(iso20022.CodeMissing, f.reason, f.pointer, "this gateway needs the field", nil)
		}
	}
	for _, f := range []struct{ text, reason, pointer string }{
		{i.Asset, "AM03", "/destination/asset"}, {i.Amount, "AM12", "/destination/amount"},
	} {
		if len(f.text) > maxText {
			return fault(iso20022.CodeValue, f.reason, f.pointer, "the text is too long", nil)
		}
	}
	for _, a := range []struct {
		account         kyc.Account
		reason, pointer string
	}{{i.Debtor.Account, "AC02", "/debtor"}, {i.Creditor.Account, "AC03", "/creditor"}} {
		if a.account.IBAN.IsZero() == (a.account.Other == "") {
			return fault(iso20022.CodeValue, a.reason, a.pointer, "an account is an IBAN or a number", nil)
		}
		if number := a.account.Other; number != "" {
			if err := kyc.DebtorAccount.Check("Othr/" + number); err != nil {
				return fault(iso20022.CodeValue, a.reason, a.pointer, "the number is not allowed", err)
			}
		}
	}
	return nil
}

// field is a text of an instruction, where it stands, and the ISO reason of a fault in it.
type field struct {
	field           kyc.Field
	text            string
	reason, pointer string
	needed          bool
}

func (i *Instruction) fields() []field {
	return []field{
		{kyc.DebtorName, i.Debtor.Name, "BE08", "/debtor/name", true},
		{kyc.DebtorCountry, i.Debtor.Country, "BE10", "/debtor/country", false},
		{kyc.DebtorTown, i.Debtor.Town, "BE08", "/debtor/town", false},
		{kyc.CreditorName, i.Creditor.Name, "BE22", "/creditor/name", true},
		{kyc.CreditorCountry, i.Creditor.Country, "BE11", "/creditor/country", false},
		{kyc.CreditorTown, i.Creditor.Town, "BE22", "/creditor/town", false},
		{kyc.Purpose, i.Purpose, "FF07", "/purpose", false},
		{kyc.Reference, i.EndToEndID, "FF08", "/end_to_end_id", true},
		{kyc.Remittance, i.Remittance, "RR07", "/remittance", false},
	}
}

// pointer is where a member of the JSON form stands in the message that the instruction came in.
func (i *Instruction) pointer(member string) string {
	if i.Original.Definition == "" {
		return member
	}
	const transaction = "/Document/FIToFICstmrCdtTrf/CdtTrfTxInf"
	switch member {
	case "/uetr":
		return transaction + "/PmtId/UETR"
	case "/end_to_end_id":
		return transaction + "/PmtId/EndToEndId"
	case "/instructing_agent":
		return transaction + "/InstgAgt/FinInstnId/BICFI"
	case "/intermediary_agent":
		return transaction + "/IntrmyAgt1/FinInstnId/BICFI"
	case "/debtor/agent":
		return transaction + "/DbtrAgt/FinInstnId/BICFI"
	case "/creditor/agent":
		return transaction + "/CdtrAgt/FinInstnId/BICFI"
	case "/destination/asset":
		return transaction + "/IntrBkSttlmAmt/@Ccy"
	case "/destination/amount":
		return transaction + "/IntrBkSttlmAmt"
	case "/purpose":
		return transaction + "/Purp"
	case "/remittance":
		return transaction + "/RmtInf/Ustrd"
	}
	if strings.HasPrefix(member, "/debtor") {
		return transaction + "/Dbtr"
	}
	return transaction + "/Cdtr"
}

// digest identifies what is to be paid, whatever message or key it came with: one UETR has one.
func (i *Instruction) digest() cypherlink.Hash {
	same := *i
	same.Original, same.InstructionID, same.TransactionID = iso20022.OriginalMessage{}, "", ""
	w := wire.NewWriter(512)
	same.appendWire(w)
	return wire.Sum("cypherlink/instruction/v1", w.Bytes())
}

func (i *Instruction) appendWire(w *wire.Writer) {
	w.Fixed(i.UETR[:])
	w.Fixed(i.Returns[:])
	for _, s := range []string{
		i.EndToEndID, i.Original.MessageID, i.Original.Definition, i.InstructionID, i.TransactionID,
	} {
		w.Str(s)
	}
	w.I64(millis(i.Original.Created))
	w.Fixed(i.Instructing[:])
	w.U32(uint32(len(i.Via))) //nolint:gosec // at most maxVia
	for _, bic := range i.Via {
		w.Fixed(bic[:])
	}
	w.Fixed(i.DebtorAgent[:])
	w.Fixed(i.CreditorAgent[:])
	for _, p := range []*kyc.Party{&i.Debtor, &i.Creditor} {
		w.Str(p.Name)
		w.Str(p.Account.IBAN.String())
		w.Str(p.Account.Other)
		w.Str(p.Country)
		w.Str(p.Town)
		w.Fixed(p.LEI[:])
	}
	for _, s := range []string{i.Asset, i.Amount, i.Purpose, i.Remittance} {
		w.Str(s)
	}
}

// readInstruction reads what appendWire wrote: of the bank's own log, so only the form counts.
func readInstruction(r *wire.Reader) *Instruction {
	var i Instruction
	r.Fixed(i.UETR[:])
	r.Fixed(i.Returns[:])
	for _, s := range []*string{
		&i.EndToEndID, &i.Original.MessageID, &i.Original.Definition, &i.InstructionID, &i.TransactionID,
	} {
		*s = r.Str(maxID)
	}
	i.Original.Created = moment(r.I64())
	r.Fixed(i.Instructing[:])
	for n := r.Count(maxVia, len(cypherlink.BIC{})); n > 0; n-- {
		var bic cypherlink.BIC
		r.Fixed(bic[:])
		i.Via = append(i.Via, bic)
	}
	r.Fixed(i.DebtorAgent[:])
	r.Fixed(i.CreditorAgent[:])
	for _, p := range []*kyc.Party{&i.Debtor, &i.Creditor} {
		p.Name = r.Str(maxName)
		p.Account.IBAN = readIBAN(r)
		p.Account.Other = r.Str(maxID)
		p.Country = r.Str(maxText)
		p.Town = r.Str(maxName)
		r.Fixed(p.LEI[:])
	}
	for _, s := range []*string{&i.Asset, &i.Amount, &i.Purpose, &i.Remittance} {
		*s = r.Str(maxName)
	}
	return &i
}

// readIBAN reads an IBAN, or the empty text for none.
func readIBAN(r *wire.Reader) cypherlink.IBAN {
	text := r.Str(maxText)
	if text == "" {
		return cypherlink.IBAN{}
	}
	iban, err := cypherlink.ParseIBAN(text)
	if err != nil {
		r.Fail(err)
	}
	return iban
}

// key is the idempotency key of a pacs.008: who sent it, and its message id.
func (i *Instruction) key() string {
	return fmt.Sprintf("iso20022/%s/%s", i.Instructing, i.Original.MessageID)
}
