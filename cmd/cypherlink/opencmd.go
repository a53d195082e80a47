package main

import (
	"context"
	"fmt"
)

// openCommand opens the channel of a local network that runs.
type openCommand struct {
	Dir string `arg:"" help:"Folder of the network." type:"existingdir"`
}

// Run opens and funds it, or finds that it is so.
func (c *openCommand) Run(s *session) error {
	ctx, cancel := context.WithTimeout(s, startWithin)
	defer cancel()
	a, b, err := restBanks(c.Dir)
	if err != nil {
		return err
	}
	defer a.http.CloseIdleConnections()
	_, err = openChannel(ctx, a, b, func(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) })
	return err
}
