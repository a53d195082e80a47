package main

import (
	"context"
	"log/slog"

	"github.com/cypherlink/cypherlink/chain/member"
)

// memberCommand runs a member of the committee.
type memberCommand struct {
	Config string `help:"Configuration file." required:"" type:"existingfile"`
}

// Run is the process.
func (c *memberCommand) Run(s *session) error {
	var config memberConfig
	if err := readConfig(c.Config, &config); err != nil {
		return refusal{err}
	}
	return runProcess(s, config.Node, func(ctx context.Context, log *slog.Logger) (process, error) {
		return newMember(ctx, &config, log)
	})
}

func newMember(ctx context.Context, c *memberConfig, log *slog.Logger) (process, error) {
	k, err := c.Node.load()
	if err != nil {
		return nil, err
	}
	return member.Open(ctx, member.Options{
		Genesis: k.genesis, Identity: k.identity, Key: k.cosigning, TLS: k.tls,
		Data: string(c.Node.Data), Listen: c.Node.Listen, Peers: c.Node.Peers, Log: log,
		Limits: member.DefaultLimits(),
	})
}
