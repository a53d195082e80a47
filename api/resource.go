package api

import "time"

// The resources are what the operations take and give. Their tags are the published schema:
// the format says which text is allowed (format.go), doc what it means. Names are snake_case;
// money is a decimal string beside its asset's label; times are RFC 3339 in UTC.

// Money is an amount of an asset. In a request an asset may also be named by its code or, where
// two ledgers have the code, by both, such as CNY@cypherium; answers have the label.
type Money struct {
	Asset  string `json:"asset" format:"asset" doc:"The asset, by its label in genesis."`
	Amount string `json:"amount" format:"amount" doc:"In units of the asset, as a decimal string."`
}

// Asset names an asset.
type Asset struct {
	Asset string `json:"asset" format:"asset" example:"DE" doc:"The asset, by its label in genesis."`
}

// Party is a customer of one of the two banks. Of IBAN and Account exactly one is given.
type Party struct {
	Name    string `json:"name" format:"name" doc:"The name."`
	IBAN    string `json:"iban,omitempty" format:"iban" doc:"The account, if it is an IBAN."`
	Account string `json:"account,omitempty" format:"account" doc:"The account, if it is no IBAN."`
	Country string `json:"country,omitempty" format:"country" doc:"The address's country, ISO 3166-1."`
	Town    string `json:"town,omitempty" format:"town" doc:"The address's town."`
	LEI     string `json:"lei,omitempty" format:"lei" doc:"The legal entity identifier, ISO 17442."`
}

// Debtor is the customer who pays.
type Debtor struct {
	Party
	// Agent is this bank, also where it is left out.
	Agent string `json:"agent,omitempty" format:"bic" example:"CYPADEFFXXX" doc:"The paying bank: this one."`
}

// Creditor is the customer who is paid.
type Creditor struct {
	Party
	// Agent may be left out where this bank has only one channel in the asset.
	Agent string `json:"agent,omitempty" format:"bic" doc:"The payee's bank; else the only channel's."`
}

// Instruction is a customer's credit transfer: what a pacs.008 says, in JSON. It is the form of
// a body; what reads the body is behind Payments.
type Instruction struct {
	// UETR may be left out: then the bank draws one.
	UETR        string   `json:"uetr,omitempty" format:"uetr" doc:"The payment's id; drawn if left out."`
	EndToEndID  string   `json:"end_to_end_id" format:"reference" doc:"The debtor's reference, EndToEndId."`
	Debtor      Debtor   `json:"debtor" doc:"Who pays."`
	Creditor    Creditor `json:"creditor" doc:"Who is paid, and at which bank."`
	Purpose     string   `json:"purpose,omitempty" format:"purpose" doc:"Why: of ExternalPurpose, or text."`
	Remittance  string   `json:"remittance,omitempty" format:"remittance" doc:"What for, in words."`
	Destination Money    `json:"destination" doc:"What the payee's bank is credited, exactly."`
}

// Payment is a payment as the bank that is asked sees it. It holds no name and no account.
type Payment struct {
	UETR       string `json:"uetr" format:"uetr" doc:"The payment's id."`
	EndToEndID string `json:"end_to_end_id" format:"reference" doc:"The debtor's reference."`
	Direction  string `json:"direction" enum:"outgoing,incoming" example:"outgoing" doc:"On which side."`
	Status     string `json:"status" format:"status" doc:"Where it stands. Statuses may be added."`
	ISOStatus  string `json:"iso_status" format:"iso-status" doc:"The same in ISO 20022."`
	Final      bool   `json:"final" example:"true" doc:"Whether the status is the last one."`
	ISOReason  string `json:"iso_reason,omitempty" format:"iso-reason" doc:"Why, of ExternalStatusReason."`
	Reason     string `json:"reason,omitempty" example:"the funds do not suffice" doc:"Why, for a person."`
	// Pointer is where in the instruction the fault is, as in a Violation.
	Pointer string `json:"pointer,omitempty" example:"/creditor/agent" doc:"Where in the instruction."`
	// Source is zero until it is known, Destination if the instruction was not right.
	Source      Money `json:"source,omitzero" doc:"What the paying bank pays, once it is known."`
	Destination Money `json:"destination,omitzero" doc:"What the payee's bank is credited."`
	// Loss is set if the payment is settled and its source custody was returned.
	Loss    bool      `json:"connector_loss,omitzero" example:"true" doc:"Settled at the connector's cost."`
	Terms   string    `json:"terms,omitempty" format:"hash" doc:"The hash of the agreed terms."`
	Created time.Time `json:"created" doc:"When it was stored."`
	Updated time.Time `json:"updated" doc:"When it last changed."`
}

// Event is one entry of a payment's log.
type Event struct {
	Sequence  uint64    `json:"sequence" minimum:"1" example:"7" doc:"Its place in the payment's log."`
	Time      time.Time `json:"time" doc:"When it was stored."`
	Kind      string    `json:"kind" example:"agreed" doc:"What happened."`
	Status    string    `json:"status" format:"status" example:"AGREED" doc:"The status from then on."`
	ISOStatus string    `json:"iso_status" format:"iso-status" example:"ACCP" doc:"The same in ISO 20022."`
	Actor     string    `json:"actor,omitempty" example:"parties" doc:"Whose word or deed it is."`
	ISOReason string    `json:"iso_reason,omitempty" format:"iso-reason" doc:"Why, of ExternalStatusReason."`
	Reason    string    `json:"reason,omitempty" example:"cypherium confirmed" doc:"Why, for a person."`
	Hash      string    `json:"hash" format:"hash" doc:"SHA-256 of the entry as it is stored."`
	// Evidence says where the proof lies.
	Evidence []Evidence `json:"evidence,omitempty" nullable:"false" doc:"Where the proof lies."`
}

// Evidence says where the proof of an event lies. The receipt of a settled payment holds all of
// it.
type Evidence struct {
	// Kind is instruction (the bytes received), terms (signed by all parties), verdict (signed
	// by a Validator), block (of the committee chain) or record (signed by an operator).
	Kind     string `json:"kind" example:"block" doc:"instruction, terms, verdict, block or record."`
	Ledger   string `json:"ledger,omitempty" format:"ledger" doc:"The ledger that holds it."`
	Height   uint64 `json:"height,omitzero" example:"1207" doc:"The block's height."`
	Sequence uint64 `json:"sequence,omitzero" example:"88" doc:"The record's number in the operator's log."`
	Hash     string `json:"hash,omitempty" format:"hash" doc:"The SHA-256 by which it is known."`
}

// Events is a page of a payment's transitions.
type Events struct {
	Items []Event `json:"items" nullable:"false" doc:"The transitions, oldest first."`
	Next  string  `json:"next,omitempty" format:"page" doc:"The next page, if there is more."`
}

// QuoteRequest asks what a delivery costs.
type QuoteRequest struct {
	Source      Asset `json:"source" doc:"What is to be paid in."`
	Destination Money `json:"destination" doc:"What is to be delivered, exactly."`
	// DebtorAgent may be left out by a bank that asks for itself.
	DebtorAgent string `json:"debtor_agent,omitempty" format:"bic" example:"CYPADEFFXXX" doc:"Who may use it"`
}

// Quote is a signed offer, which may be used once.
type Quote struct {
	ID          string `json:"id" format:"hash" doc:"The quote's id."`
	Source      Money  `json:"source" doc:"What it costs, fee included."`
	Destination Money  `json:"destination" doc:"What is delivered."`
	Fee         Money  `json:"fee" doc:"The fixed fee within source."`
	Rate        Rate   `json:"rate" doc:"The exact rate behind source."`
	// ValidUntil is the moment from which the quote is void.
	ValidUntil time.Time `json:"valid_until" doc:"From then on it is void."`
	// The holds are the lives of the two custodies from the drawing up of the terms.
	SourceHold      int64 `json:"source_hold_seconds" example:"32" doc:"How long the source is held."`
	DestinationHold int64 `json:"destination_hold_seconds" example:"20" doc:"The same of the destination."`
	// Signed is the canonical form of the quote with its signature.
	Signed []byte `json:"signed" doc:"The canonical quote and the connector's signature, base64."`
}

// Rate is an exact fraction: so many minor units of the destination asset for so many minor
// units of the source asset.
type Rate struct {
	Numerator   string `json:"numerator" format:"integer" doc:"In minor units of the destination."`
	Denominator string `json:"denominator" format:"integer" example:"1" doc:"In minor units of the source."`
}

// ChannelRequest asks for a channel.
type ChannelRequest struct {
	Peer  string `json:"peer" format:"bic" doc:"The other bank."`
	Asset string `json:"asset" format:"asset" example:"DE.C" doc:"The asset, by its label in genesis."`
}

// Opening is a channel that is wanted.
type Opening struct {
	ID    string `json:"id" format:"hash" doc:"The channel's id."`
	Peer  string `json:"peer" format:"bic" doc:"The other bank."`
	Asset string `json:"asset" format:"asset" example:"DE.C" doc:"The asset."`
}

// ChannelAmount is an amount of a channel's asset.
type ChannelAmount struct {
	Amount string `json:"amount" format:"amount" doc:"In units of the channel's asset."`
}

// Channel is a channel as the bank that is asked sees it. Every amount is of its asset.
type Channel struct {
	ID    string `json:"id" format:"hash" doc:"The channel's id."`
	Asset string `json:"asset" format:"asset" example:"DE.C" doc:"The asset."`
	Peer  string `json:"peer" format:"bic" doc:"The other bank."`
	// State is OPENING as long as the chain does not have the channel.
	State    string       `json:"state" enum:"OPENING,OPEN,CLOSING,FROZEN,CLOSED" example:"OPEN" doc:"State."`
	Balances Sides        `json:"balances" doc:"What belongs to each bank by the chain."`
	Funds    Sides        `json:"escrow" doc:"What each put in less what left; may be negative."`
	Free     string       `json:"free" format:"amount" doc:"What this bank can pay now."`
	Anchored AnchoredSeqs `json:"anchored_seq" doc:"How far the chain has each bank's lane."`
	Lanes    Lanes        `json:"lanes" doc:"This bank's records of both lanes."`
	Synced   bool         `json:"synced" example:"true" doc:"Whether the banks have compared their records."`
	// Alerts is empty if all is well.
	Alerts []string `json:"alerts" nullable:"false" doc:"What an operator should look at."`
	Limits Limits   `json:"limits" doc:"What the banks agreed when the channel opened."`
	// Height and Time are of the block from which the chain's part is.
	Height uint64    `json:"height" minimum:"0" example:"1207" doc:"The chain's block; 0 while OPENING."`
	Time   time.Time `json:"time" doc:"That block's time; 1970 if it is 0."`
}

// Sides are an amount of each of a channel's banks.
type Sides struct {
	Own  string `json:"own" format:"balance" doc:"Of the bank that is asked."`
	Peer string `json:"peer" format:"balance" doc:"Of the other bank."`
}

// AnchoredSeqs are the sequences of the heads that the chain has.
type AnchoredSeqs struct {
	Own  uint32 `json:"own" minimum:"0" example:"40" doc:"Of the lane in which this bank pays."`
	Peer uint32 `json:"peer" minimum:"0" example:"38" doc:"Of the lane in which the other bank pays."`
}

// Lanes are a channel's lanes, each named after the bank that pays in it.
type Lanes struct {
	Own  Lane `json:"own" doc:"The lane in which this bank pays."`
	Peer Lane `json:"peer" doc:"The lane in which the other bank pays."`
}

// Lane is how far a lane has come, by sequence of its updates.
type Lane struct {
	Generation uint32 `json:"generation" minimum:"0" example:"1" doc:"The generation that the rest is of."`
	Written    uint32 `json:"written" minimum:"0" example:"42" doc:"The last update that is signed."`
	Certified  uint32 `json:"certified" minimum:"0" example:"41" doc:"The last one that both banks signed."`
	Bound      uint32 `json:"bound" minimum:"0" example:"41" doc:"The last one that will settle."`
	Anchored   uint32 `json:"anchored" minimum:"0" example:"40" doc:"The last one that is settled."`
	Suspended  bool   `json:"suspended" example:"false" doc:"Whether nothing becomes bound at present."`
}

// Limits are a channel's, for as long as it lives. Times are in seconds of block time.
type Limits struct {
	Window      int64  `json:"window_seconds" example:"30" doc:"How long a challenge or a close stays open."`
	Blocks      uint64 `json:"window_blocks" minimum:"0" example:"10" doc:"The least blocks in that time."`
	Uncertified uint32 `json:"uncertified" minimum:"0" example:"256" doc:"The most updates that may wait."`
	Locks       uint32 `json:"locks" minimum:"0" example:"64" doc:"The most open locks of a lane."`
	Locked      string `json:"locked" format:"amount" doc:"The most that is locked in a lane."`
	Reserve     string `json:"reserve" format:"amount" doc:"What each bank's balance keeps at least."`
	LockMin     int64  `json:"lock_min_seconds" example:"10" doc:"The shortest life of a lock."`
	LockMax     int64  `json:"lock_max_seconds" example:"86400" doc:"The longest life of a lock."`
}

// ChannelPage is a page of channels.
type ChannelPage struct {
	Items []Channel `json:"items" nullable:"false" doc:"The channels, by id."`
	Next  string    `json:"next,omitempty" format:"page" doc:"The next page, if there is more."`
}

// Crossing is an amount of the institution's own on its way from one ledger to the other.
type Crossing struct {
	ID   string `json:"id" format:"hash" doc:"The crossing's id."`
	From Money  `json:"from" doc:"What leaves, in the asset of the ledger that it leaves."`
	To   Money  `json:"to" doc:"What comes in, in the asset of the other ledger."`
	// Stage is leaving (it may not have left yet), arriving (it has left), or one of the ends:
	// arrived, and lapsed (it has not left and never will).
	Stage string `json:"stage" enum:"leaving,arriving,arrived,lapsed" example:"arriving" doc:"How far it is."`
	Final bool   `json:"final" example:"false" doc:"Whether the stage is the last one."`
	// Expires is when it can no longer leave. What has left may come in at any time.
	Expires time.Time `json:"expires" doc:"From then on it cannot leave any more."`
}

// Health is the answer of a process that serves. It says nothing of the ledgers behind it.
type Health struct {
	Status string `json:"status" enum:"ok" example:"ok" doc:"ok: the process answers."`
}
