package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/tap"
)

// feedFlags are of an audit of what a regulator has saved of a tap, by the genesis alone.
type feedFlags struct {
	Feed       string `help:"Instead of a network, check what was saved of a tap: records, heads and pages, one JSON value a line." type:"existingfile" placeholder:"FILE"`
	Genesis    string `help:"With --feed, the network's genesis file." type:"existingfile" placeholder:"FILE"`
	Checkpoint string `help:"With --feed, go on after what this file says was checked, and keep there what is checked now." type:"path" placeholder:"FILE"`
}

// valid reports unless the flags go together; dir is the network's folder, or empty.
func (f *feedFlags) valid(dir string) error {
	switch {
	case (f.Feed == "") == (dir == ""):
		return errors.New("give either the folder of a network or --feed")
	case (f.Feed == "") != (f.Genesis == ""):
		return errors.New("--feed and --genesis go together")
	case f.Checkpoint != "" && f.Feed == "":
		return errors.New("--checkpoint goes with --feed")
	}
	return nil
}

// run prints what is wrong with the feed, by the numbers of the records, or what is proved of it.
// Exit code 1 says that something is wrong.
func (f *feedFlags) run(s *session) error {
	raw, err := os.ReadFile(f.Genesis)
	if err != nil {
		return refusal{err}
	}
	genesis, err := chain.ParseGenesis(raw)
	if err != nil {
		return refusal{fmt.Errorf("%s: %w", f.Genesis, err)}
	}
	after, err := f.after()
	if err != nil {
		return refusal{err}
	}
	check, err := tap.NewCheck(genesis, after)
	if err != nil {
		return err
	}
	if err := f.read(check); err != nil {
		return err
	}
	r := check.Report()
	if len(r.Faults) > 0 {
		for _, fault := range r.Faults {
			fmt.Fprintln(s.out, fault)
		}
		if r.Stopped {
			fmt.Fprintln(s.out, "There are more; the rest was not read.")
		}
		return found("the audit of the feed found faults: %d", len(r.Faults))
	}
	if r.Head.Height == 0 {
		return found("the feed holds nothing that proves anything: neither a record nor a head")
	}
	if err := f.keep(r.Checkpoint); err != nil {
		return err
	}
	return printFeed(s.out, genesis, after, &r)
}

func printFeed(out io.Writer, genesis *chain.Genesis, after tap.Checkpoint, r *tap.Report) error {
	what := fmt.Sprintf("Records %d to %d of network %s are complete, in order and unchanged", after.Size+1,
		r.Checkpoint.Size, genesis.Network())
	if r.Checkpoint.Size == after.Size {
		what = fmt.Sprintf("Network %s has no record after %d", genesis.Network(), after.Size)
	}
	before := ""
	if after.Size > 0 {
		before = fmt.Sprintf(" - it begins with the %d events that were checked before\n", after.Size)
	}
	_, err := fmt.Fprintf(out, "%s, up to block %d of %s:\n"+
		" - every event is in the feed that a quorum of the committee made final\n"+
		" - the feed of %d events has the root %s\n%s"+
		"What the chain has made final after that block is not shown.\n",
		what, r.Head.Height, r.Head.Time.Format(time.RFC3339Nano), r.Checkpoint.Size, r.Checkpoint.Root(), before)
	return err
}

// after is what was checked before.
func (f *feedFlags) after() (tap.Checkpoint, error) {
	if f.Checkpoint == "" {
		return tap.Checkpoint{}, nil
	}
	raw, err := os.ReadFile(f.Checkpoint)
	if errors.Is(err, os.ErrNotExist) {
		return tap.Checkpoint{}, nil
	}
	if err != nil {
		return tap.Checkpoint{}, err
	}
	c, err := tap.DecodeCheckpoint(raw)
	if err != nil {
		return c, fmt.Errorf("%s: %w", f.Checkpoint, err)
	}
	return c, nil
}

// keep writes what is checked now, in one step.
func (f *feedFlags) keep(c tap.Checkpoint) error {
	if f.Checkpoint == "" {
		return nil
	}
	raw, err := c.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.Checkpoint+".new", raw, fileMode); err != nil {
		return err
	}
	return os.Rename(f.Checkpoint+".new", f.Checkpoint)
}

func (f *feedFlags) read(check *tap.Check) (err error) {
	file, err := os.Open(f.Feed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, tap.MaxLine)
	number := 1
	for ; lines.Scan(); number++ {
		if len(bytes.TrimSpace(lines.Bytes())) > 0 {
			check.Line(bytes.Clone(lines.Bytes())) // a check keeps parts of what it is given
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: line %d: %w", f.Feed, number, err)
	}
	return nil
}
