//go:build integration

package kafkaledger_test

import (
	"os"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
)

// runReal runs the test on the Apache Kafka at CYPHERLINK_TEST_KAFKA (host:port, plaintext).
func runReal(t *testing.T, test func(*testing.T, *cluster)) {
	t.Helper()
	t.Run("apache", func(t *testing.T) {
		addresses := os.Getenv("CYPHERLINK_TEST_KAFKA")
		if addresses == "" {
			t.Fatal("CYPHERLINK_TEST_KAFKA is not set: start a broker with deploy/test/kafka.sh")
		}
		test(t, &cluster{broker: kafkaledger.Broker{Addresses: strings.Split(addresses, ",")}})
	})
}
