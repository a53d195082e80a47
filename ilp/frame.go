package ilp

import (
	"fmt"
	"unicode/utf8"
)

// Frame is one of the frames of STREAM (RFC 29, 5.3). Offsets are in bytes; shares divide a
// packet's amount among its streams; streams opened by the client are odd, from 1.
//
//sumtype:decl
type Frame interface {
	kind() byte
	appendContents(b []byte) []byte
}

// CloseCode says why a connection or stream is closed (RFC 29, 5.4).
type CloseCode uint8

// The codes that RFC 29 defines.
const (
	CloseNoError CloseCode = iota + 1
	CloseInternalError
	CloseEndpointBusy
	CloseFlowControlError
	CloseStreamIDError
	CloseStreamStateError
	CloseFrameFormatError
	CloseProtocolViolation
	CloseApplicationError
)

// The frames. Money is in minor units of the sender of the frame, unless the frame says
// otherwise.
type (
	// ConnectionClose ends the connection.
	ConnectionClose struct {
		Code    CloseCode
		Message string
	}
	// ConnectionNewAddress tells where the sender of the frame can be reached.
	ConnectionNewAddress struct{ Source Address }
	// ConnectionMaxData bounds the bytes that the other end may send on all streams.
	ConnectionMaxData struct{ MaxOffset uint64 }
	// ConnectionDataBlocked tells that the bound above stops the sender of the frame.
	ConnectionDataBlocked struct{ MaxOffset uint64 }
	// ConnectionMaxStreamID bounds the streams that the other end may open.
	ConnectionMaxStreamID struct{ MaxStreamID uint64 }
	// ConnectionStreamIDBlocked tells that the bound above stops the sender of the frame.
	ConnectionStreamIDBlocked struct{ MaxStreamID uint64 }
	// ConnectionAssetDetails names the asset of the sender of the frame.
	ConnectionAssetDetails struct {
		Code  string
		Scale uint8
	}
	// StreamClose ends one stream.
	StreamClose struct {
		StreamID uint64
		Code     CloseCode
		Message  string
	}
	// StreamMoney gives a stream its shares of the packet's amount.
	StreamMoney struct{ StreamID, Shares uint64 }
	// StreamMaxMoney bounds the money that the other end may send on a stream.
	StreamMaxMoney struct{ StreamID, ReceiveMax, TotalReceived uint64 }
	// StreamMoneyBlocked tells that the bound above stops the sender of the frame.
	StreamMoneyBlocked struct{ StreamID, SendMax, TotalSent uint64 }
	// StreamData carries bytes of a stream.
	StreamData struct {
		StreamID, Offset uint64
		Data             []byte
	}
	// StreamMaxData bounds the bytes that the other end may send on a stream.
	StreamMaxData struct{ StreamID, MaxOffset uint64 }
	// StreamDataBlocked tells that the bound above stops the sender of the frame.
	StreamDataBlocked struct{ StreamID, MaxOffset uint64 }
	// StreamReceipt carries a receipt (RFC 39) as it came.
	StreamReceipt struct {
		StreamID uint64
		Receipt  []byte
	}
	// UnknownFrame is a frame of a later version of STREAM.
	UnknownFrame struct {
		Type     byte
		Contents []byte
	}
)

func (ConnectionClose) kind() byte           { return 0x01 }
func (ConnectionNewAddress) kind() byte      { return 0x02 }
func (ConnectionMaxData) kind() byte         { return 0x03 }
func (ConnectionDataBlocked) kind() byte     { return 0x04 }
func (ConnectionMaxStreamID) kind() byte     { return 0x05 }
func (ConnectionStreamIDBlocked) kind() byte { return 0x06 }
func (ConnectionAssetDetails) kind() byte    { return 0x07 }
func (StreamClose) kind() byte               { return 0x10 }
func (StreamMoney) kind() byte               { return 0x11 }
func (StreamMaxMoney) kind() byte            { return 0x12 }
func (StreamMoneyBlocked) kind() byte        { return 0x13 }
func (StreamData) kind() byte                { return 0x14 }
func (StreamMaxData) kind() byte             { return 0x15 }
func (StreamDataBlocked) kind() byte         { return 0x16 }
func (StreamReceipt) kind() byte             { return 0x17 }
func (f UnknownFrame) kind() byte            { return f.Type }

func (f ConnectionClose) appendContents(b []byte) []byte {
	return appendVar(append(b, byte(f.Code)), f.Message)
}

func (f ConnectionNewAddress) appendContents(b []byte) []byte { return appendVar(b, f.Source) }
func (f ConnectionMaxData) appendContents(b []byte) []byte    { return appendVarUint(b, f.MaxOffset) }

func (f ConnectionDataBlocked) appendContents(b []byte) []byte { return appendVarUint(b, f.MaxOffset) }

func (f ConnectionMaxStreamID) appendContents(b []byte) []byte {
	return appendVarUint(b, f.MaxStreamID)
}

func (f ConnectionStreamIDBlocked) appendContents(b []byte) []byte {
	return appendVarUint(b, f.MaxStreamID)
}

func (f ConnectionAssetDetails) appendContents(b []byte) []byte {
	return append(appendVar(b, f.Code), f.Scale)
}

func (f StreamClose) appendContents(b []byte) []byte {
	return appendVar(append(appendVarUint(b, f.StreamID), byte(f.Code)), f.Message)
}

func (f StreamMoney) appendContents(b []byte) []byte {
	return appendVarUints(b, f.StreamID, f.Shares)
}

func (f StreamMaxMoney) appendContents(b []byte) []byte {
	return appendVarUints(b, f.StreamID, f.ReceiveMax, f.TotalReceived)
}

func (f StreamMoneyBlocked) appendContents(b []byte) []byte {
	return appendVarUints(b, f.StreamID, f.SendMax, f.TotalSent)
}

func (f StreamData) appendContents(b []byte) []byte {
	return appendVar(appendVarUints(b, f.StreamID, f.Offset), f.Data)
}

func (f StreamMaxData) appendContents(b []byte) []byte {
	return appendVarUints(b, f.StreamID, f.MaxOffset)
}

func (f StreamDataBlocked) appendContents(b []byte) []byte {
	return appendVarUints(b, f.StreamID, f.MaxOffset)
}

func (f StreamReceipt) appendContents(b []byte) []byte {
	return appendVar(appendVarUint(b, f.StreamID), f.Receipt)
}

func (f UnknownFrame) appendContents(b []byte) []byte { return append(b, f.Contents...) }

func appendVarUints(b []byte, values ...uint64) []byte {
	for _, v := range values {
		b = appendVarUint(b, v)
	}
	return b
}

// text reads UTF-8.
func (d *decoder) text() string {
	b := d.variable(MaxData)
	if !utf8.Valid(b) {
		d.fail(fmt.Errorf("text is not UTF-8: %w", errNotCanonical))
	}
	return string(b)
}

// clamped reads an integer that may have more than 64 bits, which then counts as 2^64-1.
func (d *decoder) clamped() uint64 {
	v, _ := d.varUintClamped()
	return v
}

// frame reads the contents of a frame of that type.
func (d *decoder) frame(kind byte) Frame {
	switch kind {
	case ConnectionClose{}.kind():
		return ConnectionClose{CloseCode(d.u8()), d.text()}
	case ConnectionNewAddress{}.kind():
		return ConnectionNewAddress{d.address(false)}
	case ConnectionMaxData{}.kind():
		return ConnectionMaxData{d.varUint()}
	case ConnectionDataBlocked{}.kind():
		return ConnectionDataBlocked{d.varUint()}
	case ConnectionMaxStreamID{}.kind():
		return ConnectionMaxStreamID{d.varUint()}
	case ConnectionStreamIDBlocked{}.kind():
		return ConnectionStreamIDBlocked{d.varUint()}
	case ConnectionAssetDetails{}.kind():
		return ConnectionAssetDetails{d.text(), d.u8()}
	case StreamClose{}.kind():
		return StreamClose{d.varUint(), CloseCode(d.u8()), d.text()}
	case StreamMoney{}.kind():
		return StreamMoney{d.varUint(), d.varUint()}
	case StreamMaxMoney{}.kind():
		return StreamMaxMoney{d.varUint(), d.clamped(), d.varUint()}
	case StreamMoneyBlocked{}.kind():
		return StreamMoneyBlocked{d.varUint(), d.clamped(), d.varUint()}
	case StreamData{}.kind():
		return StreamData{d.varUint(), d.varUint(), d.variable(MaxData)}
	case StreamMaxData{}.kind():
		return StreamMaxData{d.varUint(), d.varUint()}
	case StreamDataBlocked{}.kind():
		return StreamDataBlocked{d.varUint(), d.varUint()}
	case StreamReceipt{}.kind():
		return StreamReceipt{d.varUint(), d.variable(MaxData)}
	default:
		return UnknownFrame{kind, d.take(len(d.buf))}
	}
}
