package state

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// The first byte of a state key is its kind. Kinds below firstIndex are the state: they are
// under the root. The others are indexes over it, which anybody can build again from it.
const (
	kindParticipant byte = 0x01 // id -> chain.Record
	kindAsset       byte = 0x02 // asset -> chain.Asset
	kindBalance     byte = 0x03 // account, asset -> amount, 8 bytes
	kindCustody     byte = 0x04 // id -> ledger.Custody
	kindCrossing    byte = 0x06 // id -> ledger.Crossing, of all that were credited or burned
	kindSupply      byte = 0x07 // asset -> amount that was credited and not burned, 8 bytes
	kindChannel     byte = 0x08 // id -> channels.Channel
	kindReveal      byte = 0x09 // condition -> block time in seconds, preimage
	kindRegistry    byte = 0x10 // -> version, number of participants, number of assets
	kindChange      byte = 0x11 // version -> hash of the change that made it

	firstIndex    byte = 0x80
	kindCondition byte = 0x81 // condition -> id of the custody that was made under it
	kindExpiry    byte = 0x82 // expiry, id -> nothing; of every custody that is prepared
	kindDue       byte = 0x83 // seconds, id -> nothing; of every channel that time may change then
	kindPair      byte = 0x84 // banks, asset -> id of their channel that is not closed
	kindChannelOf byte = 0x85 // bank, id -> nothing; of every channel that is not closed
)

// underRoot tells whether the key is of the state itself.
func underRoot(key []byte) bool { return key[0] < firstIndex }

// ParticipantKey is where the state keeps a participant's record.
func ParticipantKey(id cypherlink.ParticipantID) []byte {
	return append([]byte{kindParticipant}, id[:]...)
}

// AssetKey is where the state keeps an asset, its issuer and its policy.
func AssetKey(asset cypherlink.Asset) []byte {
	w := wire.NewWriter(1 + 4 + cypherlink.MaxLedgerID + 4 + cypherlink.MaxAssetCode + 1)
	w.U8(kindAsset)
	asset.AppendWire(w)
	return w.Bytes()
}

// BalanceKey is where the state keeps an account's balance in an asset.
func BalanceKey(account cypherlink.Account, asset cypherlink.Asset) []byte {
	w := wire.NewWriter(MaxKey)
	w.U8(kindBalance)
	account.AppendWire(w)
	asset.AppendWire(w)
	return w.Bytes()
}

// CustodyKey is where the state keeps a custody.
func CustodyKey(id ledger.CustodyID) []byte {
	return append([]byte{kindCustody}, id[:]...)
}

func conditionKey(c cypherlink.Condition) []byte {
	return append([]byte{kindCondition}, c[:]...)
}

// expiryKey sorts by expiry, then by id. An expiry that anybody can prepare is positive.
func expiryKey(expiry int64, id ledger.CustodyID) []byte {
	w := wire.NewWriter(1 + 8 + 32)
	w.U8(kindExpiry)
	w.I64(expiry)
	w.Fixed(id[:])
	return w.Bytes()
}

// expiryOf is the custody that an expiry key names.
func expiryOf(key []byte) ledger.CustodyID { return ledger.CustodyID(key[9:41]) }

func encodeAmount(a cypherlink.Amount) []byte {
	w := wire.NewWriter(8)
	w.I64(int64(a))
	return w.Bytes()
}

// DecodeAmount reads the value under a BalanceKey; otherwise ErrRecord.
func DecodeAmount(b []byte) (cypherlink.Amount, error) {
	r := wire.NewReader(b)
	a := cypherlink.Amount(r.I64())
	if err := r.End(); err != nil || a < 0 {
		return 0, recordError("balance", err)
	}
	return a, nil
}

func encodeCustody(c *ledger.Custody) []byte {
	w := wire.NewWriter(256 + len(c.Packet))
	c.AppendWire(w)
	return w.Bytes()
}

// DecodeCustody reads the value under a CustodyKey; otherwise ErrRecord. The result shares
// memory with b.
func DecodeCustody(b []byte) (ledger.Custody, error) {
	r := wire.NewReader(b)
	c := ledger.ReadCustody(r)
	if err := r.End(); err != nil {
		return ledger.Custody{}, recordError("custody", err)
	}
	return c, nil
}
