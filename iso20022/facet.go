package iso20022

import "strings"

// matches tells whether s has the form of p.
func (p pattern) matches(s string) bool {
	switch p {
	case noPattern, patternUTC: // patternUTC stands on times alone
		return true
	case patternBIC:
		return (len(s) == 8 || len(s) == 11) &&
			all(s[:4], upperOrDigit) && all(s[4:6], upper) && all(s[6:], upperOrDigit)
	case patternOldBIC:
		return (len(s) == 8 || len(s) == 11) && all(s[:6], upper) &&
			upperOrDigit(s[6]) && s[6] != '0' && s[6] != '1' &&
			upperOrDigit(s[7]) && s[7] != 'O' && all(s[8:], upperOrDigit)
	case patternIBAN:
		return len(s) >= 5 && len(s) <= 34 &&
			all(s[:2], upper) && all(s[2:4], digit) && all(s[4:], alphanumeric)
	case patternLEI:
		return len(s) == 20 && all(s[:18], upperOrDigit) && all(s[18:], digit)
	case patternUUID:
		return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
			s[14] == '4' && strings.IndexByte("89ab", s[19]) >= 0 &&
			all(s[:8], lowerHex) && all(s[9:13], lowerHex) && all(s[14:18], lowerHex) &&
			all(s[19:23], lowerHex) && all(s[24:], lowerHex)
	case patternCountry:
		return len(s) == 2 && all(s, upper)
	case patternCurrency:
		return len(s) == 3 && all(s, upper)
	case patternPhone:
		return isPhone(s)
	case patternDigits2:
		return len(s) == 2 && all(s, digit)
	case patternDigits15:
		return len(s) >= 1 && len(s) <= 15 && all(s, digit)
	case patternAlnum4:
		return len(s) == 4 && all(s, alphanumeric)
	case patternHex:
		return s != "" && all(s, hexDigit)
	case patternHex32:
		return len(s) == 64 && all(s, func(c byte) bool { return digit(c) || 'A' <= c && c <= 'F' })
	}
	return false
}

// isPhone tells whether s is "+", 1 to 3 digits, "-", and 1 to 30 digits or ( ) + -.
func isPhone(s string) bool {
	country, number, ok := strings.Cut(strings.TrimPrefix(s, "+"), "-")
	return ok && strings.HasPrefix(s, "+") && len(country) >= 1 && len(country) <= 3 && all(country, digit) &&
		len(number) >= 1 && len(number) <= 30 &&
		all(number, func(c byte) bool { return digit(c) || strings.IndexByte("()+-", c) >= 0 })
}

func all(s string, is func(byte) bool) bool {
	for _, c := range []byte(s) {
		if !is(c) {
			return false
		}
	}
	return true
}

func digit(c byte) bool        { return '0' <= c && c <= '9' }
func upper(c byte) bool        { return 'A' <= c && c <= 'Z' }
func lower(c byte) bool        { return 'a' <= c && c <= 'z' }
func upperOrDigit(c byte) bool { return upper(c) || digit(c) }
func alphanumeric(c byte) bool { return upper(c) || lower(c) || digit(c) }
func lowerHex(c byte) bool     { return digit(c) || 'a' <= c && c <= 'f' }
func hexDigit(c byte) bool     { return lowerHex(c) || 'A' <= c && c <= 'F' }

// isDecimal tells whether s is an xs:decimal of at most total digits, frac of them after the
// point. Zeros at either end do not count (XML Schema 2, 4.3.11).
func isDecimal(s string, total, frac uint8) bool {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	whole, fraction, point := strings.Cut(s, ".")
	if !all(whole, digit) || !all(fraction, digit) || whole+fraction == "" || point && fraction == "" {
		return false
	}
	whole = strings.TrimLeft(whole, "0")
	fraction = strings.TrimRight(fraction, "0")
	if whole == "" {
		return len(fraction) <= int(frac) && len(strings.TrimLeft(fraction, "0")) <= int(total)
	}
	return len(fraction) <= int(frac) && len(whole)+len(fraction) <= int(total)
}
