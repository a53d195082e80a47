// Package books is a bank's own books, kept in the gateway's store: where its customers' money stands.
//
// Its noun is the Posting (payment.Posting), which goes by the steps hold, post, release and refuse,
// and each step that moves money is one line of a journal that is never edited. Per asset, the chart
// of accounts is
//
//	customer/NUMBER  what the bank owes its customer
//	held/NUMBER      what of it is set aside for outgoing payments
//	held/returns     what of the returns is set aside for the payments that give it back
//	returns          what has come in, cannot be posted, and has to go back
//	channel/ID       the claim on the other bank in the channel (a debit), or the debt to it
//	opening          what the customers' first balances were booked against
//
// It keeps these promises, which the tests quote and Trial checks:
//
//	K1  a line debits one account by what it credits another; an account's balance is its credits less
//	    its debits, and in every asset all balances add up to nothing
//	K2  no customer, no hold and no return falls below nothing
//	K3  a hold is posted or released, once; an incoming payment is posted or refused, never both
//	K4  what is given back is what one incoming payment left in the returns, all of it, once
//	K5  an answer stands: a posting that is repeated, after whatever restart, changes nothing and hears
//	    what it heard first, and one with anything else in it is an error
//
// A refusal is an answer: it is kept, and stands when the account would take the posting by now.
//
// It refuses to be a core banking system: no interest, no statement, no overdraft. A bank with one
// puts it behind payment.Books. Source: channels.md, banking.md 2.2; the double entry of any
// accounting text.
package books
