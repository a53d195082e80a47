package peer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
)

// The ports that PickAddr chooses from. They lie below those that systems give to outgoing
// connections (RFC 6335 section 6 and Linux's 32768 and above): a port that was free when it was
// picked is not taken by a dialler before its owner listens on it.
const (
	firstPort = 10_000
	pastPorts = 32_000
)

// PickAddr is a loopback address that nobody listens on, for a configuration that is written
// before its process starts. It differs from those that are taken.
func PickAddr(ctx context.Context, taken map[string]bool) (string, error) {
	var random [2]byte
	for range 1000 {
		rand.Read(random[:])
		port := firstPort + int(binary.BigEndian.Uint16(random[:]))%(pastPorts-firstPort)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if taken[addr] {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			continue
		}
		return addr, l.Close()
	}
	return "", errors.New("no free port on 127.0.0.1")
}
