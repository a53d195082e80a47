// Package kyc is what two banks tell each other about a payment's parties before money moves.
//
// Its noun is the File of one payment: the payer bank's Disclosure (debtor, creditor, purpose,
// remittance, reference) and the payee bank's Answer to it. Every field of a file stands in one
// RFC 6962 tree as a leaf with its own salt of 32 bytes; the root is the KYC commitment of the
// terms, and all that leaves the two banks. Any field can be opened later, alone, as a Proof:
// to a Validator before the payment, to a supervisor after it. To erase a file is to delete
// it: without its salts the root tells nothing, however small the field's domain is.
//
// What a bank does with a disclosure is here too: Requirements (completeness, screening against
// a list that the bank brings along, the creditor's account and name) lead to acceptance or to
// an ISO reason, by integer arithmetic alone. A hit is RR04 without a word more, so that
// nobody is tipped off.
//
// The package refuses control and invisible characters, unsalted and twice-salted fields, and
// to print what it holds. It looks up no account, fetches no list and draws no chance: the
// caller brings them. It does not transliterate: a name in one script does not match a list
// in another, so a rule set that relies on screening states the scripts that it lets through.
//
// Sources: FATF Recommendation 16; ISO 20022 ExternalStatusReason; RFC 6962 section 2.1; EDPB
// Guidelines 02/2025; Winkler 1990 for the similarity of names.
package kyc
