package main

import (
	"errors"
	"testing"
)

func TestABrokerInTheClearIsOnLoopback(t *testing.T) {
	some := tlsFiles{Cert: "nowhere.pem", Key: "nowhere.key", CA: "nowhere.ca"}
	for _, tt := range []struct {
		name   string
		config kafkaConfig
		want   error
	}{
		{"loopback without TLS files", kafkaConfig{Bootstrap: "127.0.0.1:9092"}, nil},
		{"loopback of IPv6 without TLS files", kafkaConfig{Bootstrap: "[::1]:9092"}, nil},
		{"another machine without TLS files", kafkaConfig{Bootstrap: "10.0.0.1:9092"}, errConfig},
		{"a name without TLS files", kafkaConfig{Bootstrap: "localhost:9092"}, errConfig},
		{"no port", kafkaConfig{Bootstrap: "127.0.0.1"}, errConfig},
		{"loopback with TLS files that are not there", kafkaConfig{Bootstrap: "127.0.0.1:9092", TLS: some}, errTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tls, err := tt.config.security()
			if !errors.Is(err, tt.want) || tls != nil {
				t.Errorf("%v, %v", tls, err)
			}
		})
	}
}
