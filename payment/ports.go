package payment

import (
	"context"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/kyc"
)

// Peers reaches the other institutions of the network.
type Peers interface {
	// Call sends a message of that kind to a participant, whom it has authenticated, and
	// returns the answer. A refusal that the other means is a *cypherlink.Error; every other
	// error (no connection, too busy, a fault of the other's) leaves it open whether the call
	// arrived, and the caller repeats it.
	Call(ctx context.Context, to cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error)
}

// Follower is a participant's own verified copy of the chain, such as a follow.Follower.
type Follower interface {
	// View is a channel in the last final block; one that is not there is state.ErrUnknown.
	View(id channels.ID, conditions []cypherlink.Condition) (channels.View, error)
	// Registry is that of the last final block, at its time.
	Registry() chain.Roll
	// Head is the header of the last final block.
	Head() chain.Header
}

// Customers is what a bank knows of its customers' accounts.
type Customers interface {
	// Standing is how the account stands, and who holds it; holder is empty where the books
	// name nobody.
	Standing(ctx context.Context, account kyc.Account) (standing kyc.Standing, holder string, err error)
}

// Books are a bank's own: where its customers' money stands. Every call may be repeated: the same
// posting changes nothing again and is answered as the first time, by its payment and direction; one
// that contradicts what is booked is an error. A refusal is a *cypherlink.Error with an ISO reason;
// after any other error nothing is known, and the caller asks again.
type Books interface {
	// Hold sets the amount of an outgoing payment aside on the customer's account. Refusals: AM04
	// (not enough), AC01 (no such account), AC04 (closed), AC06 (blocked).
	Hold(ctx context.Context, p Posting) error
	// Post books what is settled: an outgoing payment from the hold into the channel, an incoming one
	// from the channel onto the customer's account, which may be refused (AC01, AC04, AC06).
	Post(ctx context.Context, p Posting) error
	// Release gives the hold of an outgoing payment back to the customer. Without a hold it sees to
	// it that none ever comes.
	Release(ctx context.Context, p Posting) error
	// Refuse books an incoming payment that cannot be posted from the channel into what the bank has
	// to return. A payment with Posting.Returns is paid out of that.
	Refuse(ctx context.Context, p Posting) error
}

// Posting is what one payment asks of the bank's own books.
type Posting struct {
	Payment   cypherlink.UETR
	Direction Direction
	// Customer is the account of the bank's own customer: the debtor's of an outgoing payment, the
	// creditor's of an incoming one.
	Customer kyc.Account
	// Returns is the incoming payment that an outgoing one gives back, zero for every other: then no
	// customer is debited.
	Returns cypherlink.UETR
	Money   Money
	// Channel is where the money moves between the banks.
	Channel channels.ID
}

// Chain is the committee chain as the bank's own follower has verified and stored it.
type Chain interface {
	// View is a channel after the last final block, with the preimages of those conditions that are
	// revealed by then; Fresh is for whoever has a clock. An unknown channel is state.ErrUnknown.
	View(id channels.ID, conditions []cypherlink.Condition) (channels.View, error)
	// Channels are all channels, also closed ones.
	Channels() ([]*channels.Channel, error)
	// Registry is who may speak.
	Registry() chain.Roll
	// Balance is what an account has of an asset; ok tells whether it is open.
	Balance(account cypherlink.Account, asset cypherlink.Asset) (amount cypherlink.Amount, ok bool, err error)
	// Changed is closed when there is a later final block.
	Changed() <-chan struct{}
}

// Anchors proves what the chain has of lanes.
type Anchors interface {
	// Anchoring is the first event of the feed in which the channel's lane stands at an update of that
	// sequence or a later one, with its proof; state.ErrUnknown if there is none.
	Anchoring(ctx context.Context, id channels.ID, lane channels.Side, seq uint32) (follow.Entry, error)
}

// Committee takes transactions.
type Committee interface {
	// HandIn hands a transaction to the members, again and again, until done or until so many of them
	// refuse it that one of them is honest: then a *cypherlink.Error. Done is asked after each final
	// block of the bank's own follower.
	HandIn(ctx context.Context, body state.Body, done func() (bool, error)) error
}

// LaneSigner is the bank's Ed25519 key for what binds it: the caller has made the frame's slot durable.
type LaneSigner interface {
	SignRecorded(f cosi.Frame) ([64]byte, error)
}

// JointSigner is the bank's BLS key for what binds it, as LaneSigner.
type JointSigner interface {
	SignRecorded(f cosi.Frame) (cosi.Signature, error)
}

// Prices is what a connector asks at present.
type Prices interface {
	// Price is the price between two assets; ok tells whether the connector deals in them.
	Price(ctx context.Context, source, destination cypherlink.Asset) (price connector.Price, ok bool)
}
