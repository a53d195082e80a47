package rules

import _ "embed" // the two sets

//go:embed sets/de.json
var digitalEuro string

//go:embed sets/de.examples.json
var digitalEuroExamples string

//go:embed sets/dcep.json
var digitalYuan string

//go:embed sets/dcep.examples.json
var digitalYuanExamples string

// DigitalEuro is the rule set of the demonstration's asset DE, EUR on ledger "de", and its
// examples. A bank starts its own from it.
func DigitalEuro() (document, examples []byte) {
	return []byte(digitalEuro), []byte(digitalEuroExamples)
}

// DigitalYuan is the rule set of the demonstration's asset DC/EP, CNY on ledger "cypherium",
// and its examples.
func DigitalYuan() (document, examples []byte) {
	return []byte(digitalYuan), []byte(digitalYuanExamples)
}
