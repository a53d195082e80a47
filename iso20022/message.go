package iso20022

import (
	"strings"
	"time"
)

const namespace = "urn:iso:std:iso:20022:tech:xsd:"

// Message is one message as Parse read it.
type Message struct {
	// Definition is the message definition with its version, such as "pacs.008.001.08".
	Definition string
	// Header is the business application header, or nil if the document came bare.
	Header *Header
	// Document is a *CreditTransfer, a *StatusReport, a *PaymentReturn or a *MessageReject.
	Document Document

	at places
}

// Document is a *CreditTransfer, a *StatusReport, a *PaymentReturn or a *MessageReject.
//
//sumtype:decl
type Document interface{ document() }

func (*CreditTransfer) document() {}
func (*StatusReport) document()   {}
func (*PaymentReturn) document()  {}
func (*MessageReject) document()  {}

// Header is the business application header (head.001). A signature in it is not judged.
type Header struct {
	From, To Agent
	// MessageID is BizMsgIdr, at most 35 characters.
	MessageID string
	// Definition is MsgDefIdr. It equals the message's definition.
	Definition string
	// Service is BizSvc, such as "swift.cbprplus.03", or empty.
	Service string
	Created time.Time // CreDt
	// PossibleDuplicate is PssblDplct.
	PossibleDuplicate bool
}

// Parse reads one message: a bare Document, or a wrapper that holds it with its header. It
// takes pacs.008, pacs.002, pacs.004 and admi.002 in the versions of the schema table and nothing
// outside their base schemas. Every refusal is a *cypherlink.Error. Parse keeps no part of
// raw, which the caller should keep.
func Parse(raw []byte) (*Message, error) {
	root, err := parseTree(raw)
	if err != nil {
		return nil, err
	}
	header, document, err := unwrap(root)
	if err != nil {
		return nil, err
	}
	if document == nil {
		return nil, root.faultWithout("Document", reasonFormat, "the message holds no Document")
	}
	m := &Message{Definition: strings.TrimPrefix(document.space, namespace)}
	schema := documentSchema(document)
	if schema == nil {
		return nil, document.faultAt(CodeUnsupported,
			"pacs.008, pacs.002, pacs.004 and admi.002 are read here, not the namespace %.80q",
			document.space)
	}
	if header != nil {
		if m.Header, err = parseHeader(header, m.Definition); err != nil {
			return nil, err
		}
	}
	if err := document.validate(schema); err != nil {
		return nil, err
	}
	body := document.children[0]
	if m.Document, err = parseDocument(body); err != nil {
		return nil, err
	}
	m.at = places{header: header.path(), body: body.path()}
	return m, nil
}

// documentSchema is the schema of a Document by its namespace, or nil.
func documentSchema(document *element) *schemaType {
	definition, ok := strings.CutPrefix(document.space, namespace)
	if !ok || strings.HasPrefix(definition, "head.") {
		return nil
	}
	return schemaOf(definition)
}

func parseDocument(e *element) (Document, error) {
	switch e.name {
	case "FIToFICstmrCdtTrf":
		return parseCreditTransfer(e)
	case "FIToFIPmtStsRpt":
		return parseStatusReport(e)
	case "PmtRtr":
		return parsePaymentReturn(e)
	default: // the schema leaves nothing else than admi.002
		return parseMessageReject(e), nil
	}
}

// unwrap finds header and document in a wrapper. Wrappers carry no meaning; their namespaces
// differ from sender to sender and are not looked at.
func unwrap(e *element) (header, document *element, err error) {
	if e.name == "Document" {
		return nil, e, nil
	}
	if !isWrapper(e.name) {
		return nil, nil, e.faultAt(CodeUnsupported, "neither a Document nor a wrapper that is read here")
	}
	if len(e.attributes) > 0 {
		return nil, nil, fault(CodeAttribute, reasonFormat, e.path()+"/@"+e.attributes[0].Name.Local,
			"a wrapper has no such attribute")
	}
	for _, c := range e.children {
		switch {
		case document != nil:
			return nil, nil, c.faultAt(CodeUnexpected, "nothing may follow the Document")
		case c.name == "AppHdr" && header == nil:
			header = c
		case c.name == "FedNowTechnicalHeader" && e.name == "FedNowIncoming":
		case c.name == "Document" || isWrapper(c.name) && header == nil:
			inner, d, err := unwrap(c)
			if err != nil {
				return nil, nil, err
			}
			if inner != nil {
				header = inner
			}
			document = d
		default:
			return nil, nil, c.faultAt(CodeUnknown, "a wrapper holds a header and a Document, no more")
		}
	}
	return header, document, nil
}

func isWrapper(name string) bool {
	switch name {
	case "Envelope", "RequestPayload", "Request", "message", "FPEnvelope",
		"FedNowIncoming", "FedNowIncomingMessage", "FedNowOutgoing", "FedNowOutgoingMessage",
		"FedNowCustomerCreditTransfer", "FedNowPaymentStatus", "FedNowMessageReject":
		return true
	}
	return false
}

// parseHeader reads a header for a document of that definition.
func parseHeader(e *element, definition string) (*Header, error) {
	version, ok := strings.CutPrefix(e.space, namespace)
	if version == "head.001.001.03" {
		version = "head.001.001.04" // which adds to .03
	}
	schema := schemaOf(version)
	if !ok || schema == nil || !strings.HasPrefix(version, "head.") {
		return nil, e.faultAt(CodeUnsupported, "the header is not head.001.001.01 to .04")
	}
	if err := e.validate(schema); err != nil {
		return nil, err
	}
	var d decoder
	h := &Header{
		From: d.agent(e.at("Fr", "FIId")), To: d.agent(e.at("To", "FIId")),
		MessageID: e.textAt("BizMsgIdr"), Definition: e.textAt("MsgDefIdr"), Service: e.textAt("BizSvc"),
		Created: e.at("CreDt").time(),
	}
	duplicate := e.textAt("PssblDplct")
	h.PossibleDuplicate = duplicate == "true" || duplicate == "1"
	if h.Definition != definition {
		return nil, e.at("MsgDefIdr").faultAt(CodeHeader,
			"the header announces another message definition than the Document's, %s", definition)
	}
	return h, d.err
}
