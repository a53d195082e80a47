package payment

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/kyc"
)

// MaxInstruction bounds an instruction, in bytes.
const MaxInstruction = iso20022.MaxSize

// The JSON form of an instruction. Unknown, repeated and differently spelled members are
// refused; amounts are decimal strings.
type (
	instructionJSON struct {
		UETR        cypherlink.UETR `json:"uetr,omitzero"`
		EndToEndID  string          `json:"end_to_end_id"`
		Debtor      partyJSON       `json:"debtor"`
		Creditor    partyJSON       `json:"creditor"`
		Destination moneyJSON       `json:"destination"`
		Purpose     string          `json:"purpose,omitzero"`
		Remittance  string          `json:"remittance,omitzero"`
	}
	partyJSON struct {
		Name    string          `json:"name"`
		IBAN    cypherlink.IBAN `json:"iban,omitzero"`
		Account string          `json:"account,omitzero"`
		// Agent is the BIC of the party's bank. Without it the debtor's is the bank that is told, and
		// the creditor's the one with which that bank has its only channel in the asset.
		Agent   string         `json:"agent,omitzero"`
		Country string         `json:"country,omitzero"`
		Town    string         `json:"town,omitzero"`
		LEI     cypherlink.LEI `json:"lei,omitzero"`
	}
	moneyJSON struct {
		Asset  string `json:"asset"`
		Amount string `json:"amount"`
	}
)

// Parse reads an instruction: a JSON object, or a pacs.008. One without a UETR, which only JSON
// may leave out, gets one from random, a cryptographic source. A refusal is a *cypherlink.Error
// with a reason and the place of the fault; nothing is known of the payment then.
func Parse(raw []byte, format Format, random io.Reader) (*Instruction, error) {
	switch format {
	case JSON:
		return parseJSON(raw, random)
	case XML:
		return parseXML(raw)
	}
	return nil, fmt.Errorf("format %d: %w", format, errFormat)
}

func parseXML(raw []byte) (*Instruction, error) {
	m, err := iso20022.Parse(raw)
	if err != nil {
		return nil, err
	}
	if err := m.CheckUsage(); err != nil {
		return nil, err
	}
	c, ok := m.Document.(*iso20022.CreditTransfer)
	if !ok {
		return nil, &cypherlink.Error{
			Code: iso20022.CodeUnsupported, Reason: "FF01", Pointer: "/Document",
			Message: "a payment is ordered by a pacs.008, not by " + m.Definition,
		}
	}
	i := fromCreditTransfer(m, c)
	return i, i.check()
}

func parseJSON(raw []byte, random io.Reader) (*Instruction, error) {
	if len(raw) > MaxInstruction {
		return nil, misread(fmt.Errorf("%d bytes, at most %d: %w", len(raw), MaxInstruction, errFormat))
	}
	var j instructionJSON
	if err := json.Unmarshal(raw, &j, json.RejectUnknownMembers(true)); err != nil {
		return nil, misread(err)
	}
	i := &Instruction{
		UETR: j.UETR, EndToEndID: j.EndToEndID,
		Debtor: j.Debtor.party(), Creditor: j.Creditor.party(),
		Asset: j.Destination.Asset, Amount: j.Destination.Amount,
		Purpose: j.Purpose, Remittance: j.Remittance,
	}
	for _, a := range []struct {
		text, reason, pointer string
		bic                   *cypherlink.BIC
	}{
		{j.Debtor.Agent, "RC03", "/debtor/agent", &i.DebtorAgent},
		{j.Creditor.Agent, "RC04", "/creditor/agent", &i.CreditorAgent},
	} {
		if a.text == "" {
			continue // the bank that is told fills it in
		}
		bic, err := cypherlink.ParseBIC(a.text)
		if err != nil {
			return nil, &cypherlink.Error{
				Code: iso20022.CodeBIC, Reason: a.reason, Pointer: a.pointer, Message: "not a BIC", Err: err,
			}
		}
		*a.bic = bic
	}
	if i.UETR.IsZero() {
		var err error
		if i.UETR, err = cypherlink.NewUETR(random); err != nil {
			return nil, err
		}
	}
	return i, i.check()
}

func (p *partyJSON) party() kyc.Party {
	return kyc.Party{
		Name: p.Name, Account: kyc.Account{IBAN: p.IBAN, Other: p.Account},
		Country: p.Country, Town: p.Town, LEI: p.LEI,
	}
}

var errFormat = errors.New("not a format of instructions")

// misread is the refusal of JSON that does not decode: the place of the fault, and the reason
// of what should stand there.
func misread(err error) error {
	e := refuse(CodeMalformed, "FF01", "the JSON is not an instruction", err)
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		e.Pointer = string(semantic.JSONPointer)
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		e.Pointer = string(syntactic.JSONPointer)
	}
	switch {
	case errors.Is(err, cypherlink.ErrIBAN):
		e.Code, e.Reason, e.Message = iso20022.CodeIBAN, "AC03", "not an IBAN"
		if strings.HasPrefix(e.Pointer, "/debtor") {
			e.Reason = "AC02"
		}
	case errors.Is(err, cypherlink.ErrLEI):
		e.Code, e.Reason, e.Message = iso20022.CodeLEI, "BE15", "not an LEI"
	case errors.Is(err, cypherlink.ErrUETR):
		e.Reason, e.Message = "CH21", "not a UETR"
	}
	return e
}
