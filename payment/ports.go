package payment

import (
	"context"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
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

// Books is what a bank's own books say of its customers' accounts.
type Books interface {
	// Standing is how the account stands, and who holds it; holder is empty where the books
	// name nobody.
	Standing(ctx context.Context, account kyc.Account) (standing kyc.Standing, holder string, err error)
}

// Prices is what a connector asks at present.
type Prices interface {
	// Price is the price between two assets; ok tells whether the connector deals in them.
	Price(ctx context.Context, source, destination cypherlink.Asset) (price connector.Price, ok bool)
}
