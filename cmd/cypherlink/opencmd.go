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
	banks, err := restBanks(c.Dir, actorA(), actorB())
	if err != nil {
		return err
	}
	defer banks[0].http.CloseIdleConnections()
	_, err = openChannel(ctx, banks[0], banks[1], func(format string, args ...any) {
		fmt.Fprintf(s.out, format+"\n", args...)
	})
	return err
}
