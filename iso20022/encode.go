package iso20022

import (
	"bytes"
	"encoding/xml"
	"time"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
)

// The definitions that are sent.
const (
	statusReportDefinition  = "pacs.002.001.10"
	paymentReturnDefinition = "pacs.004.001.09"
	messageRejectDefinition = "admi.002.001.01"
	headerDefinition        = "head.001.001.02"
)

// Encode is r as pacs.002.001.10: a bare Document, or an Envelope with header, whose
// Definition is set. What Parse and CheckUsage would refuse is not sent: then their error.
func (r *StatusReport) Encode(header *Header) ([]byte, error) {
	return encode(header, statusReportDefinition, r.write)
}

// Encode is r as admi.002.001.01: a bare Document, or an Envelope with header, whose
// Definition is set. What Parse would refuse is not sent: then its error.
func (r *MessageReject) Encode(header *Header) ([]byte, error) {
	return encode(header, messageRejectDefinition, r.write)
}

// encode writes header and body, and reads the result as strictly as anybody else's.
func encode(header *Header, definition string, body func(*writer)) ([]byte, error) {
	var w writer
	w.buf.WriteString(xml.Header)
	if header != nil {
		w.start("Envelope", "urn:swift:xsd:envelope")
		header.write(&w, definition)
	}
	w.start("Document", namespace+definition)
	body(&w)
	w.end("Document")
	if header != nil {
		w.end("Envelope")
	}
	if w.unwritable != "" {
		return nil, fault(CodeValue, reasonFormat, "", "%s holds what XML cannot", w.unwritable)
	}
	out := w.buf.Bytes()
	m, err := Parse(out)
	if err == nil {
		err = m.CheckUsage()
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (h *Header) write(w *writer, definition string) {
	w.start("AppHdr", namespace+headerDefinition)
	for _, side := range []struct {
		name  string
		agent Agent
	}{{"Fr", h.From}, {"To", h.To}} {
		w.start(side.name, "")
		w.agent("FIId", side.agent)
		w.end(side.name)
	}
	w.value("BizMsgIdr", h.MessageID)
	w.value("MsgDefIdr", definition)
	w.value("BizSvc", h.Service)
	w.time("CreDt", h.Created)
	if h.PossibleDuplicate {
		w.value("PssblDplct", "true")
	}
	w.end("AppHdr")
}

func (r *StatusReport) write(w *writer) {
	w.start("FIToFIPmtStsRpt", "")
	w.start("GrpHdr", "")
	w.value("MsgId", r.MessageID)
	w.time("CreDtTm", r.Created)
	w.end("GrpHdr")
	if g := r.Group; g.Original != (OriginalMessage{}) || g.Status != "" || len(g.Reasons) > 0 {
		w.start("OrgnlGrpInfAndSts", "")
		w.original(g.Original)
		w.value("GrpSts", string(g.Status))
		w.reasons(g.Reasons)
		w.end("OrgnlGrpInfAndSts")
	}
	for i := range r.Transactions {
		r.Transactions[i].write(w)
	}
	w.end("FIToFIPmtStsRpt")
}

func (t *TransactionStatus) write(w *writer) {
	w.start("TxInfAndSts", "")
	w.value("StsId", t.StatusID)
	if t.Original != (OriginalMessage{}) {
		w.start("OrgnlGrpInf", "")
		w.original(t.Original)
		w.end("OrgnlGrpInf")
	}
	w.value("OrgnlInstrId", t.OriginalInstructionID)
	w.value("OrgnlEndToEndId", t.OriginalEndToEndID)
	w.value("OrgnlTxId", t.OriginalTransactionID)
	w.value("OrgnlUETR", t.OriginalUETR.String())
	w.value("TxSts", string(t.Status))
	w.reasons(t.Reasons)
	w.time("AccptncDtTm", t.Accepted)
	w.agent("InstgAgt", t.InstructingAgent)
	w.agent("InstdAgt", t.InstructedAgent)
	w.end("TxInfAndSts")
}

func (r *MessageReject) write(w *writer) {
	w.start(messageRejectDefinition, "")
	w.start("RltdRef", "")
	w.value("Ref", r.Reference)
	w.end("RltdRef")
	w.start("Rsn", "")
	w.value("RjctgPtyRsn", r.Reason)
	w.time("RjctnDtTm", r.Rejected)
	w.value("ErrLctn", r.Location)
	w.value("RsnDesc", r.Description)
	w.end("Rsn")
	w.end(messageRejectDefinition)
}

// NewStatusReason is the reason that tells a refusal to the bank that caused it: its ISO code (NARR
// if it has none of the code set, since it may be another institution's) and its message and place,
// in lines of 105 characters.
func NewStatusReason(e *cypherlink.Error) StatusReason { return newReason(e, KnownReason) }

func newReason(e *cypherlink.Error, known func(code string) bool) StatusReason {
	r := StatusReason{Code: e.Reason}
	if !known(r.Code) {
		r.Code = reasonNarrative
	}
	told := e.Message
	if e.Pointer != "" {
		told += " at " + e.Pointer
	}
	for line := range 2 {
		if part := cut(told, line*105, 105); part != "" {
			r.Info = append(r.Info, part)
		}
	}
	return r
}

// NewMessageReject is the answer to a message that Parse refused. reference is the id of the
// message, or "NOTPROVIDED".
func NewMessageReject(reference string, now time.Time, e *cypherlink.Error) *MessageReject {
	r := &MessageReject{
		Reference: cut(reference, 0, 35), Reason: e.Reason, Rejected: now,
		Location: cut(e.Pointer, 0, 350), Description: cut(e.Message, 0, 350),
	}
	if r.Reason == "" {
		r.Reason = reasonNarrative
	}
	return r
}

// cut is at most n characters of s, from the character from on.
func cut(s string, from, n int) string {
	runes := []rune(s)
	from = min(from, len(runes))
	return string(runes[from:min(from+n, len(runes))])
}

// writer writes elements, one a line. Empty values are left out.
type writer struct {
	buf        bytes.Buffer
	indent     int
	unwritable string // the last element whose text XML cannot hold
}

func (w *writer) line() {
	for range w.indent {
		w.buf.WriteString("  ")
	}
}

// start opens an element, with a default namespace unless it is empty.
func (w *writer) start(name, space string) {
	w.line()
	w.buf.WriteString("<" + name)
	if space != "" {
		w.buf.WriteString(` xmlns="` + space + `"`)
	}
	w.buf.WriteString(">\n")
	w.indent++
}

func (w *writer) end(name string) {
	w.indent--
	w.line()
	w.buf.WriteString("</" + name + ">\n")
}

func (w *writer) value(name, text string) {
	if text == "" {
		return
	}
	if !writable(text) {
		w.unwritable = name
	}
	w.line()
	w.buf.WriteString("<" + name + ">")
	_ = xml.EscapeText(&w.buf, []byte(text)) // a buffer does not fail
	w.buf.WriteString("</" + name + ">\n")
}

// writable tells whether s is UTF-8 of characters that XML 1.0 allows; EscapeText would
// replace the others in silence.
func writable(s string) bool {
	for _, c := range s {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xfffe || c == 0xffff {
			return false
		}
	}
	return utf8.ValidString(s)
}

// time writes t in UTC and milliseconds.
func (w *writer) time(name string, t time.Time) {
	if !t.IsZero() {
		w.value(name, t.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
}

// money writes an amount unless it is no money.
func (w *writer) money(name string, m Money) {
	if m == (Money{}) {
		return
	}
	digits, _ := cypherlink.CurrencyDigits(m.Currency) // Parse refuses an unknown one
	w.line()
	w.buf.WriteString("<" + name + ` Ccy="`)
	_ = xml.EscapeText(&w.buf, []byte(m.Currency)) // a buffer does not fail
	w.buf.WriteString(`">` + m.Amount.Format(digits) + "</" + name + ">\n")
}

// agent writes an agent that has at least one field.
func (w *writer) agent(name string, a Agent) {
	if a == (Agent{}) {
		return
	}
	w.start(name, "")
	w.start("FinInstnId", "")
	w.value("BICFI", a.BIC.String())
	if a.Member != "" {
		w.start("ClrSysMmbId", "")
		if a.ClearingSystem != "" {
			w.start("ClrSysId", "")
			kind := "Cd"
			if len(a.ClearingSystem) > 5 { // the length of the external codes
				kind = "Prtry"
			}
			w.value(kind, a.ClearingSystem)
			w.end("ClrSysId")
		}
		w.value("MmbId", a.Member)
		w.end("ClrSysMmbId")
	}
	w.value("LEI", a.LEI.String())
	w.value("Nm", a.Name)
	w.end("FinInstnId")
	w.end(name)
}

func (w *writer) original(o OriginalMessage) {
	w.value("OrgnlMsgId", o.MessageID)
	w.value("OrgnlMsgNmId", o.Definition)
	w.time("OrgnlCreDtTm", o.Created)
}

func (w *writer) reasons(reasons []StatusReason) {
	for _, r := range reasons {
		w.reason("StsRsnInf", r)
	}
}

func (w *writer) reason(name string, r StatusReason) {
	w.start(name, "")
	if r.Code != "" || r.Proprietary != "" {
		w.start("Rsn", "")
		if r.Code != "" {
			w.value("Cd", r.Code)
		} else {
			w.value("Prtry", r.Proprietary)
		}
		w.end("Rsn")
	}
	for _, line := range r.Info {
		w.value("AddtlInf", line)
	}
	w.end(name)
}
