//go:build !integration

package kafkaledger_test

import "testing"

func runReal(*testing.T, func(*testing.T, *cluster)) {}
