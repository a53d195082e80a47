package payment

import (
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// receiptFormat is the first field of every receipt.
const receiptFormat = "cypherlink-receipt-v1"

// The JSON form of a Proof. Signed and Evidence are what is proved; every other field is
// computed from them, and compared.
type (
	receiptJSON struct {
		Format   string               `json:"format"`
		Network  cypherlink.NetworkID `json:"network"`
		UETR     cypherlink.UETR      `json:"uetr"`
		Preimage cypherlink.Preimage  `json:"preimage"`
		Terms    agreementJSON        `json:"terms"`
		Quote    quoteJSON            `json:"quote"`
		Legs     []legJSON            `json:"legs"`
	}
	agreementJSON struct {
		Hash      cypherlink.Hash          `json:"hash"`
		Payer     cypherlink.ParticipantID `json:"payer"`
		Payee     cypherlink.ParticipantID `json:"payee"`
		Connector cypherlink.ParticipantID `json:"connector,omitzero"`
		Condition cypherlink.Condition     `json:"condition,omitzero"`
		Quote     cypherlink.Hash          `json:"quote,omitzero"`
		KYC       cypherlink.Hash          `json:"kyc_commitment"`
		Batch     batchJSON                `json:"batch"`
		Signed    hexBytes                 `json:"signed"`
	}
	batchJSON struct {
		Sequence  uint64                     `json:"sequence"`
		Index     uint32                     `json:"index"`
		Count     uint32                     `json:"count"`
		Root      cypherlink.Hash            `json:"root"`
		Path      []cypherlink.Hash          `json:"path"`
		Signers   []cypherlink.ParticipantID `json:"signers"`
		Signature hexBytes                   `json:"signature"`
	}
	quoteJSON struct {
		ID          cypherlink.Hash `json:"id"`
		Source      partJSON        `json:"source"`
		Destination partJSON        `json:"destination"`
		Rate        string          `json:"rate"`
		Fee         string          `json:"fee"`
		ValidUntil  string          `json:"valid_until"`
		Signed      hexBytes        `json:"signed"`
	}
	partJSON struct {
		Asset  string `json:"asset"`
		Amount string `json:"amount"`
	}
	// agreedJSON is what the terms say of a leg.
	agreedJSON struct {
		Ledger cypherlink.LedgerID `json:"ledger"`
		Asset  string              `json:"asset"`
		Amount string              `json:"amount"`
		Debit  cypherlink.Account  `json:"debit"`
		Credit cypherlink.Account  `json:"credit"`
		Expiry string              `json:"expiry"`
	}
	legJSON struct {
		agreedJSON
		Condition cypherlink.Condition `json:"condition"`
		Custody   ledger.CustodyID     `json:"custody"`
		Verdicts  []verdictJSON        `json:"verdicts"`
		Prepared  *statementJSON       `json:"prepared,omitzero"`
		Confirmed statementJSON        `json:"confirmed"`
	}
	verdictJSON struct {
		Validator  cypherlink.ParticipantID `json:"validator"`
		Outcome    string                   `json:"outcome"`
		ValidUntil string                   `json:"valid_until"`
		RuleSet    cypherlink.Hash          `json:"rule_set"`
		Inputs     cypherlink.Hash          `json:"inputs"`
		Signature  hexBytes                 `json:"signature"`
		Signed     hexBytes                 `json:"signed"`
	}
	statementJSON struct {
		State    string `json:"state"`
		Sequence uint64 `json:"sequence"`
		Time     string `json:"time"`
		// Finality stands for the committee's ledger, Record for every other one, Lane for a channel.
		Finality *finalityJSON `json:"finality,omitzero"`
		Record   *recordJSON   `json:"operators_record,omitzero"`
		Lane     *lockJSON     `json:"lane,omitzero"`
		Evidence hexBytes      `json:"evidence"`
	}
	finalityJSON struct {
		Height      uint64            `json:"height"`
		Headers     []headerJSON      `json:"headers"`
		Certificate certificateJSON   `json:"certificate"`
		Path        []cypherlink.Hash `json:"path"`
	}
	headerJSON struct {
		Block  cypherlink.Hash `json:"block"`
		Height uint64          `json:"height"`
		View   uint64          `json:"view"`
		Epoch  uint64          `json:"epoch"`
		Time   string          `json:"time"`
		Header hexBytes        `json:"header"`
	}
	certificateJSON struct {
		View      uint64          `json:"view"`
		Block     cypherlink.Hash `json:"block"`
		Signers   []int           `json:"signers"`
		Signature hexBytes        `json:"signature"`
	}
	lockJSON struct {
		Bank       cypherlink.ParticipantID `json:"bank"`
		Channel    channels.ID              `json:"channel"`
		Lane       string                   `json:"lane"`
		Generation uint32                   `json:"generation"`
		Sequence   uint32                   `json:"sequence"`
		Operation  string                   `json:"operation"`
		Signature  hexBytes                 `json:"signature"`
	}
	recordJSON struct {
		Operator  cypherlink.ParticipantID `json:"operator"`
		Signature hexBytes                 `json:"signature"`
	}
)

// hexBytes is a byte string in lower-case hexadecimal.
type hexBytes []byte

// MarshalText is the lower-case hexadecimal form.
func (b hexBytes) MarshalText() ([]byte, error) { return cypherlink.AppendHex(nil, b), nil }

// UnmarshalText takes exactly the form of MarshalText; otherwise cypherlink.ErrHex.
func (b *hexBytes) UnmarshalText(text []byte) error {
	*b = make([]byte, len(text)/2)
	return cypherlink.DecodeHex(*b, text)
}

// instant is a time in milliseconds since 1970 as RFC 3339 in UTC.
func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// second is a time in seconds since 1970 as RFC 3339 in UTC.
func second(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) }

func (p *Proof) json(g *chain.Genesis) (*receiptJSON, error) {
	t := p.Terms.Terms
	j := &receiptJSON{
		Format: receiptFormat, Network: t.Network, UETR: t.UETR, Preimage: p.preimage(),
		Terms: agreementOf(p.Terms), Quote: p.quoteJSON(),
	}
	for i := range p.Legs {
		leg, err := p.legJSON(g, i)
		if err != nil {
			return nil, err
		}
		j.Legs = append(j.Legs, *leg)
	}
	return j, nil
}

// agreementOf shows terms and who signed them.
func agreementOf(p *terms.Proof) agreementJSON {
	t := p.Terms
	j := agreementJSON{
		Hash: t.Hash(), Payer: t.Payer, Payee: t.Payee, Connector: t.Connector,
		Condition: t.Condition, Quote: t.Quote, KYC: t.KYC, Signed: p.Encode(),
		Batch: batchJSON{
			Sequence: p.Sequence, Index: p.Index, Count: p.Count,
			Root: p.Root, Path: p.Path, Signers: []cypherlink.ParticipantID{},
			Signature: p.Certificate.Signature[:],
		},
	}
	roster := t.Signers()
	for _, i := range p.Certificate.Signers() {
		if i < len(roster) {
			j.Batch.Signers = append(j.Batch.Signers, roster[i])
		}
	}
	return j
}

func agreedOf(leg *terms.Leg) agreedJSON {
	return agreedJSON{
		Ledger: leg.Asset.Ledger, Asset: leg.Asset.String(), Amount: leg.Amount.Format(leg.Asset.Scale),
		Debit: leg.Debit, Credit: leg.Credit, Expiry: second(leg.Expiry),
	}
}

func (p *Proof) quoteJSON() quoteJSON {
	q := &p.Quote.Quote
	part := func(m connector.Movement) partJSON {
		return partJSON{m.Asset.String(), m.Amount.Format(m.Asset.Scale)}
	}
	return quoteJSON{
		ID: q.ID, Source: part(q.Source), Destination: part(q.Destination),
		Rate: fmt.Sprintf("%d/%d", q.Price.Rate.Num, q.Price.Rate.Den),
		Fee:  q.Price.Fee.Format(q.Source.Asset.Scale), ValidUntil: second(q.ValidUntil),
		Signed: p.Quote.Encode(),
	}
}

func (p *Proof) legJSON(g *chain.Genesis, i int) (*legJSON, error) {
	leg, from := p.Terms.Terms.Legs[i], &p.Legs[i]
	j := &legJSON{
		agreedJSON: agreedOf(&leg),
		Condition:  p.Terms.Terms.Condition, Custody: p.custody(i), Verdicts: verdictsOf(from.Verdicts),
	}
	if !ledger.InChannel(&leg) {
		prepared, err := statementOf(g, &leg, &from.Prepared)
		if err != nil {
			return nil, err
		}
		j.Prepared = &prepared
	}
	var err error
	j.Confirmed, err = statementOf(g, &leg, &from.Confirmed)
	return j, err
}

func verdictsOf(verdicts []validator.Signed) []verdictJSON {
	all := []verdictJSON{}
	for i := range verdicts {
		v := &verdicts[i]
		all = append(all, verdictJSON{
			Validator: v.Validator, Outcome: outcomeName(v.Verdict.Outcome),
			ValidUntil: second(v.Verdict.ValidUntil), RuleSet: v.Verdict.RuleSet, Inputs: v.Verdict.Inputs,
			Signature: v.Signature[:], Signed: EncodeVerdict(v),
		})
	}
	return all
}

// verdictsIn takes what is signed out of the JSON.
func verdictsIn(all []verdictJSON) ([]validator.Signed, error) {
	var verdicts []validator.Signed
	for _, j := range all {
		v, err := DecodeVerdict(j.Signed)
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, *v)
	}
	return verdicts, nil
}

func outcomeName(o validator.Outcome) string {
	switch o {
	case validator.Approved:
		return "approved"
	case validator.Rejected:
		return "rejected"
	case validator.Held:
		return "held"
	}
	return ""
}

// statementOf shows a receipt by its evidence alone.
func statementOf(g *chain.Genesis, leg *terms.Leg, s *Statement) (statementJSON, error) {
	read, err := evidenceOf(g, leg, s.Receipt.Evidence)
	if err != nil {
		return statementJSON{}, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	j := statementJSON{
		State: read.Receipt.Custody.State.String(), Sequence: read.Receipt.Sequence,
		Time: instant(read.Receipt.TimeMS), Evidence: read.Receipt.Evidence,
	}
	if read.Record != nil {
		r := &recordJSON{Signature: read.Record.Signature[:]}
		if l, ok := g.Ledger(read.Receipt.Ledger); ok {
			r.Operator = l.Operator
		}
		j.Record = r
		return j, nil
	}
	if read.Lane != nil {
		j.Evidence, j.Lane = s.Receipt.Evidence, wordOf(read.Lane)
		return j, nil
	}
	j.Finality = finalityOf(read.Chain)
	return j, nil
}

// wordOf shows a bank's word about a lock, and which operation in which update proves it, if any does.
func wordOf(r *LaneReceipt) *lockJSON {
	j := &lockJSON{Bank: r.Bank, Signature: r.Signature[:]}
	if r.Proof == nil {
		return j
	}
	u := r.Proof.Last()
	j.Channel, j.Lane, j.Generation, j.Sequence = u.Channel, u.Lane.String(), u.Gen, u.Seq
	switch r.Proof.Operation.(type) {
	case channels.Lock:
		j.Operation = "lock"
	case channels.Settle:
		j.Operation = "settle"
	case channels.Unlock:
		j.Operation = "unlock"
	case channels.Pay:
		j.Operation = "pay"
	}
	return j
}

// finalityOf shows how evidence of an event proves it final.
func finalityOf(e *follow.Evidence) *finalityJSON {
	f := &finalityJSON{Height: e.Event.Height, Headers: []headerJSON{}, Path: []cypherlink.Hash{}}
	for _, h := range e.Proof.Headers {
		raw := h.Encode()
		f.Headers = append(f.Headers, headerJSON{
			Block: h.ID(), Height: h.Height, View: h.View, Epoch: h.Epoch,
			Time: instant(h.TimeMS), Header: raw[:],
		})
	}
	f.Certificate = certificateJSON{
		View: e.Proof.QC.Tuple.View, Block: e.Proof.QC.Tuple.Block,
		Signers: e.Proof.QC.Votes.Signers(), Signature: e.Proof.QC.Votes.Signature[:],
	}
	for _, h := range e.Path {
		f.Path = append(f.Path, h)
	}
	return f
}
