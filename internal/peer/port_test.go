package peer_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/cypherlink/cypherlink/internal/peer"
)

func TestPickedAddressesAreFreeAndDiffer(t *testing.T) {
	taken := map[string]bool{}
	for range 50 {
		addr, err := peer.PickAddr(t.Context(), taken)
		if err != nil {
			t.Fatal(err)
		}
		host, text, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil || host != "127.0.0.1" || port < 10_000 || port >= 32_000 {
			t.Errorf("%s: %v", addr, err)
		}
		if taken[addr] {
			t.Errorf("%s twice", addr)
		}
		taken[addr] = true
	}
}
