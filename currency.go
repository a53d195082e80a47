package cypherlink

import "strings"

// CurrencyDigits is the number of digits after the point that ISO 4217 gives the currency or
// fund code (EUR 2, JPY 0, BHD 3, CLF 4). It is not ok for every other text: unknown and
// withdrawn codes, metals and units of account (XAU, XDR), test codes (XTS) and "no currency"
// (XXX), in none of which a payment can be settled.
func CurrencyDigits(code string) (digits uint8, ok bool) {
	const (
		none = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
		two  = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD " +
			"CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP " +
			"GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK " +
			"LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO " +
			"NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS " +
			"SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST " +
			"XCD XCG YER ZAR ZMW ZWG"
		three = "BHD IQD JOD KWD LYD OMR TND"
		four  = "CLF UYW"
	)
	if len(code) != 3 || strings.Contains(code, " ") {
		return 0, false
	}
	switch {
	case strings.Contains(two, code):
		return 2, true
	case strings.Contains(none, code):
		return 0, true
	case strings.Contains(three, code):
		return 3, true
	case strings.Contains(four, code):
		return 4, true
	}
	return 0, false
}
