package payment

import (
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/kyc"
)

// refusedFor is why the own books have refused a payment.
func refusedFor(log []Event) string {
	for _, e := range log {
		if booked, ok := e.Fact.(Booked); ok && booked.Entry == EnteredRefuse {
			return booked.Reason
		}
	}
	return ""
}

func returnMessage(bank *Bank, at time.Time, i *Instruction, reason string) ([]byte, error) {
	asset, err := assetNamed(bank.Genesis, i.Asset)
	if err != nil {
		return nil, err
	}
	amount, err := cypherlink.ParseAmount(i.Amount, asset.Scale)
	if err != nil {
		return nil, err
	}
	id := string(cypherlink.AppendHex(nil, i.UETR[:]))
	r := iso20022.PaymentReturn{
		MessageID: id, Created: at, SettlementMethod: "CLRG", ReturnID: id,
		OriginalEndToEndID: i.EndToEndID, OriginalUETR: i.Returns,
		Returned:         iso20022.Money{Currency: asset.Code, Amount: amount},
		SettlementDate:   at.Format(time.DateOnly),
		ChargeBearer:     "SLEV",
		InstructingAgent: iso20022.Agent{BIC: i.DebtorAgent},
		InstructedAgent:  iso20022.Agent{BIC: i.CreditorAgent},
		Debtor:           returnParty(&i.Debtor), Creditor: returnParty(&i.Creditor),
		Reasons: []iso20022.ReturnReason{iso20022.NewReturnReason(&cypherlink.Error{
			Reason: reason, Message: "the creditor's account did not take the payment",
		})},
	}
	return r.Encode(nil)
}

func returnParty(p *kyc.Party) iso20022.Party {
	return iso20022.Party{Name: p.Name, Country: p.Country, Town: p.Town, LEI: p.LEI}
}
