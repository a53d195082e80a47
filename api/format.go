package api

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
)

// format is a form of text that the published schemas name by JSON Schema's "format", with the
// pattern, length and example that go into the document. Every text that a request may hold
// has one, so that none is unbounded.
type format struct {
	pattern string // as RE2, ECMAScript and Python read it alike
	length  int    // the most characters
	example string
	// rule is the stable name of a violation, and message tells a person what is wrong. It
	// does not quote the text, which may be personal. Formats of answers alone have neither.
	rule    cypherlink.Code
	message string
	// check tests what the pattern cannot, and is nil if there is nothing left.
	check func(string) error
}

// formatOf is the table of formats. Names that JSON Schema itself defines are not in it.
func formatOf(name string) (f format, ok bool) {
	for _, part := range []func(string) format{identifierFormat, requestFormat, answerFormat} {
		if f = part(name); f.pattern != "" {
			return f, true
		}
	}
	return format{}, false
}

// identifierFormat holds the formats that standards define.
func identifierFormat(name string) format {
	switch name {
	case "uetr":
		return format{
			"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", 36,
			"eb6305c9-1f7f-49de-aed0-16487c27b42d",
			"uetr_invalid", "is not a version 4 UUID in lower case",
			func(s string) error { _, err := cypherlink.ParseUETR(s); return err },
		}
	case "bic":
		return format{
			"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$", 11, "CYPBCNBJXXX",
			iso20022.CodeBIC, "is not a BIC of 8 or 11 characters with a known country",
			func(s string) error { _, err := cypherlink.ParseBIC(s); return err },
		}
	case "iban":
		return format{
			"^[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}$", cypherlink.MaxIBAN, "DE89370400440532013000",
			iso20022.CodeIBAN, "is not an IBAN: country, length or check digits are wrong",
			func(s string) error { _, err := cypherlink.ParseIBAN(s); return err },
		}
	case "lei":
		return format{
			"^[A-Z0-9]{18}[0-9]{2}$", 20, "529900T8BM49AURSDO55",
			iso20022.CodeLEI, "is not an LEI: form or check digits are wrong",
			func(s string) error { _, err := cypherlink.ParseLEI(s); return err },
		}
	case "country":
		return format{
			"^[A-Z]{2}$", 2, "DE",
			"country_invalid", "is not a country code of two capital letters", nil,
		}
	}
	return format{}
}

// requestFormat holds the formats of this interface's own texts.
func requestFormat(name string) format {
	// text is what a kyc.Disclosure can hold: characters that show, no blanks at either end
	text := func(length int, example string, check func(string) error) format {
		return format{
			`^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0])?$`, length, example,
			"text_invalid", "is empty, or holds characters that do not show, or blanks at an end", check,
		}
	}
	switch name {
	case "name":
		return text(kyc.MaxName, "Alice Example", kyc.DebtorName.Check)
	case "town":
		return text(kyc.MaxName, "Bonn", kyc.DebtorTown.Check)
	case "account":
		return text(kyc.MaxOther, "6222020200012345678", func(s string) error {
			return kyc.DebtorAccount.Check("Othr/" + s)
		})
	case "reference":
		return text(kyc.MaxReference, "INV-2026-0042", kyc.Reference.Check)
	case "purpose":
		return text(kyc.MaxReference, "GDDS", kyc.Purpose.Check)
	case "remittance":
		return text(kyc.MaxRemittance, "Invoice 42, one laptop", kyc.Remittance.Check)
	case "asset":
		return format{
			"^[A-Z0-9./]{1,16}(@[a-z][a-z0-9-]{0,15})?$", 33, "DC/EP",
			"asset_invalid", "is not an asset's name, such as DC/EP or CNY@cypherium", nil,
		}
	case "amount":
		return format{
			"^(0|[1-9][0-9]{0,18})([.][0-9]{1,18})?$", 38, "2000.00",
			iso20022.CodeAmount, "is not a plain decimal, such as 2000.00", nil,
		}
	case "key":
		return format{
			"^[!-~]{1,64}$", 64, "8e03978e-40d5-43dd-bc93-6894a57f9324",
			CodeKeyInvalid, "is not 1 to 64 printable ASCII characters without blanks", nil,
		}
	case "hash":
		return format{
			"^[0-9a-f]{64}$", 64, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			"hash_invalid", "is not 64 hexadecimal digits in lower case", nil,
		}
	case "cursor":
		return format{
			"^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$", 11, "AAAAAAAAADI", // 8 bytes in base64
			"cursor_invalid", "is not a cursor that this server gave",
			func(s string) error { _, err := parseCursor(s); return err },
		}
	}
	return format{}
}

// answerFormat holds the formats that only answers have.
func answerFormat(name string) format {
	switch name {
	case "status":
		return format{pattern: "^[A-Z][A-Z0-9_]*$", length: 32, example: "SETTLED"}
	case "iso-status":
		return format{pattern: "^[A-Z]{4}$", length: 4, example: "ACSC"}
	case "iso-reason":
		return format{pattern: "^[A-Z0-9]{4}$", length: 4, example: "AM04"}
	case "ledger":
		return format{pattern: "^[a-z][a-z0-9-]{0,15}$", length: cypherlink.MaxLedgerID, example: "cypherium"}
	case "page":
		return format{
			pattern: "^/v1/", length: 256,
			example: "/v1/payments/eb6305c9-1f7f-49de-aed0-16487c27b42d/events?cursor=AAAAAAAAADI&limit=50",
		}
	case "balance":
		return format{pattern: "^-?(0|[1-9][0-9]{0,18})([.][0-9]{1,18})?$", length: 39, example: "2000.00"}
	case "integer":
		return format{pattern: "^[1-9][0-9]{0,18}$", length: 19, example: "2"}
	}
	return format{}
}

// statuses are where a payment can stand, in the order of its life.
func statuses() []any {
	var all []any
	for _, s := range []payment.Status{
		payment.StatusReceived, payment.StatusChecked, payment.StatusNegotiating, payment.StatusAgreed,
		payment.StatusValidating, payment.StatusApproved, payment.StatusReserved,
		payment.StatusSigned1, payment.StatusInDoubt, payment.StatusSigned2,
		payment.StatusSettled, payment.StatusPosted, payment.StatusCompleted,
		payment.StatusRejected, payment.StatusExpired, payment.StatusAborted,
		payment.StatusReturnPending, payment.StatusReturned,
	} {
		all = append(all, string(s))
	}
	return all
}
