package iso20022

// schemaType is one type of the ISO 20022 base schemas. The generated table in
// schema_table.go holds those of every message that the package speaks.
type schemaType struct {
	model model
	parts []part // of a sequence or choice
	space string // of anything: the namespace of its one element; empty: every one

	base           base     // of a value
	minLen, maxLen uint16   // characters of text, bytes of binary; maxLen 0: no bound
	pattern        pattern  // of text
	enum           []string // of text; empty: any
	total, frac    uint8    // greatest number of digits of a decimal, and of those after the point
	currency       bool     // the attribute Ccy is required
}

// part is an element that a sequence or choice allows.
type part struct {
	name string
	of   *schemaType
	min  uint8
	max  uint16 // 0: no bound
}

type model uint8

const (
	value model = iota
	sequence
	choice
	anything // one element of supplementary data or a signature, not looked into
)

type base uint8

const (
	text base = iota
	decimal
	boolean
	date
	dateTime
	clock
	year
	binary
)

// pattern is one of the regular expressions of the base schemas.
type pattern uint8

const (
	noPattern       pattern = iota
	patternBIC              // [A-Z0-9]{4,4}[A-Z]{2,2}[A-Z0-9]{2,2}([A-Z0-9]{3,3}){0,1}
	patternOldBIC           // [A-Z]{6,6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3,3}){0,1}
	patternIBAN             // [A-Z]{2,2}[0-9]{2,2}[a-zA-Z0-9]{1,30}
	patternLEI              // [A-Z0-9]{18,18}[0-9]{2,2}
	patternUUID             // [a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}
	patternCountry          // [A-Z]{2,2}
	patternCurrency         // [A-Z]{3,3}
	patternPhone            // \+[0-9]{1,3}-[0-9()+\-]{1,30}
	patternDigits2          // [0-9]{2}
	patternDigits15         // [0-9]{1,15}
	patternAlnum4           // [a-zA-Z0-9]{4}
	patternHex              // [0-9a-fA-F]+
	patternHex32            // ([0-9A-F][0-9A-F]){32}
	patternUTC              // .*Z
)

// part is the allowed element of that name, from position from on, and its position.
func (t *schemaType) part(name string, from int) (at int, ok bool) {
	for i := from; i < len(t.parts); i++ {
		if t.parts[i].name == name {
			return i, true
		}
	}
	return 0, false
}
