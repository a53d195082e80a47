package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/hold"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment/books"
)

// finding is something that does not fit, as an error.
type finding string

// Error says what.
func (f finding) Error() string { return string(f) }

func found(format string, args ...any) error { return finding(fmt.Sprintf(format, args...)) }

// auditCommand compares what all parts of a network have stored, by itself and without any of
// them running; or it checks what a regulator has saved of a tap.
type auditCommand struct {
	Dir string `arg:"" optional:"" help:"Folder of the network, which is down." type:"existingdir"`
	feedFlags
}

// Validate implements kong's check of the command line.
func (c *auditCommand) Validate() error { return c.valid(c.Dir) }

// Run prints what every asset adds up to, how many payments stand where, and every difference.
// Exit code 1 says that there is one, 2 that a process of the network runs.
func (c *auditCommand) Run(s *session) (err error) {
	if c.Feed != "" {
		return c.run(s)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, genesisName)); err != nil {
		return refusal{fmt.Errorf("%s is not the folder of a network: %w", c.Dir, err)}
	}
	release, err := holdNetwork(c.Dir)
	if errors.Is(err, hold.ErrHeld) {
		return refusal{fmt.Errorf("an audit is of a network that is down:\n%w", err)}
	}
	if err != nil {
		return refusal{err}
	}
	defer func() { err = errors.Join(err, release()) }()
	a, err := newAudit(c.Dir)
	if err != nil {
		return refusal{err}
	}
	defer func() { err = errors.Join(err, a.close()) }()
	a.read(s)
	a.compare()
	if err := a.print(s.out); err != nil {
		return err
	}
	if n := len(a.differences); n > 0 {
		return found("the audit found differences: %d", n)
	}
	return nil
}

// holdNetwork takes the folder of every process, so that none begins meanwhile; the locks keep
// the pids that they have. If any runs, hold.ErrHeld names all that do.
func holdNetwork(dir string) (release func() error, err error) {
	var held []func() error
	var errs []error
	for _, p := range processes() {
		f, err := hold.Try(filepath.Join(dir, p.folder))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		held = append(held, f.Close)
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, closeAll(held))...)
	}
	return func() error { return closeAll(held) }, nil
}

// audit is what was read of a network, and what does not fit.
type audit struct {
	dir     string
	genesis *chain.Genesis
	// scratch is a folder for copies of stores.
	scratch string
	closers []func() error
	// patience is how long a part may need to hear that a custody is over.
	patience time.Duration

	chain  []string // a line for each copy
	ledger map[cypherlink.LedgerID]*accounts
	totals []total
	// records are in the order of bank and UETR, machines of owner, role and terms.
	records  []*record
	machines []*machine
	lanes    laneBook
	// backings are in the order of genesis, carried in that of owner and crossing.
	backings    []backing
	carried     []carried
	differences []difference
}

// difference is something that does not fit.
type difference struct {
	// about is a part of the network, a payment or a custody; stands is what the stores say of
	// it, or empty.
	about, stands, what string
}

func newAudit(dir string) (*audit, error) {
	raw, err := os.ReadFile(filepath.Join(dir, genesisName)) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, err
	}
	a := &audit{
		dir: dir, ledger: map[cypherlink.LedgerID]*accounts{},
		lanes: laneBook{
			map[cypherlink.Hash]*channels.Entry{},
			map[cypherlink.Hash]bool{},
			map[ledger.CustodyID]ledger.Custody{},
			map[string][]books.Balance{},
		},
	}
	if a.genesis, err = chain.ParseGenesis(raw); err != nil {
		return nil, err
	}
	a.scratch, err = os.MkdirTemp("", "cypherlink-audit-")
	return a, err
}

func (a *audit) close() error {
	return errors.Join(closeAll(a.closers), os.RemoveAll(a.scratch))
}

func (a *audit) differs(about, format string, args ...any) {
	a.differences = append(a.differences, difference{about: about, what: fmt.Sprintf(format, args...)})
}

// name is an account's for people.
func (a *audit) name(account cypherlink.Account) string {
	owner := account.Owner.String()
	if p, ok := a.genesis.Participant(account.Owner); ok {
		owner = p.Name
	}
	if account.Number == ledger.EscrowNumber {
		return owner + ", escrow"
	}
	return fmt.Sprintf("%s, number %d", owner, account.Number)
}

// config reads the configuration of the process in a folder.
func (a *audit) config(folder string, c any) error {
	return readConfig(filepath.Join(a.dir, folder, configName), c)
}

// read reads every store. What cannot be read, or does not hold by itself, is a difference, and
// the rest is read all the same.
func (a *audit) read(ctx context.Context) {
	copies := a.openChains()
	if err := a.readBook(ctx); err != nil {
		a.differs(folderLedger, "%v", err)
	}
	for _, folder := range []string{folderA, folderB} {
		var c connectConfig
		err := a.config(folder, &c)
		if err == nil {
			copies = a.openFollower(copies, folder, &c.institutionConfig)
			err = a.readInstitution(ctx, folder, &c.institutionConfig, a.readLanes)
		}
		if err != nil {
			a.differs(folder, "%v", err)
		}
	}
	var c connectorConfig
	err := a.config(folderClearing, &c)
	if err == nil {
		copies = a.openFollower(copies, folderClearing, &c.institutionConfig)
		err = a.readInstitution(ctx, folderClearing, &c.institutionConfig, a.readLaneLogs)
	}
	if err != nil {
		a.differs(folderClearing, "%v", err)
	}
	a.readChain(copies)
}

// compare adds up the ledgers and holds every payment against them.
func (a *audit) compare() {
	for _, l := range a.genesis.File().Ledgers {
		books, ok := a.ledger[l.ID]
		if !ok {
			continue // why stands among the differences
		}
		for _, asset := range a.genesis.File().Assets {
			if asset.Asset.Ledger != l.ID {
				continue
			}
			t, err := books.total(asset)
			if err == nil {
				err = t.fits()
			}
			if err != nil {
				a.differs(string(l.ID), "%v", err)
			}
			a.totals = append(a.totals, t)
		}
		for _, what := range books.unexplained(a.name) {
			a.differs(string(l.ID), "%s", what)
		}
	}
	a.compareBackings()
	a.compareCarried()
	a.readLocks()
	a.comparePayments()
	a.compareLanes()
}

// print tells what was found.
func (a *audit) print(out io.Writer) error {
	var b strings.Builder
	columns := "%-8s  %-10s" + strings.Repeat("  %18s", 5) + "\n"
	fmt.Fprintf(&b, columns, "asset", "ledger", "in accounts", "in custody", "in channels", "total", "issued")
	for _, t := range a.totals {
		amount := func(v cypherlink.Amount) string { return v.Format(t.asset.Asset.Scale) }
		fmt.Fprintf(&b, columns, t.asset.Label, t.asset.Asset.Ledger,
			amount(t.accounts), amount(t.custodies), amount(t.channels), amount(t.sum), amount(t.issued))
	}
	for _, lines := range [][]string{a.backingLines(), a.chain, a.counts()} {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n%s\n", strings.Join(lines, "\n"))
		}
	}
	if len(a.differences) == 0 {
		fmt.Fprintln(&b, "\nNo difference.")
	} else {
		fmt.Fprintf(&b, "\nDifferences: %d\n", len(a.differences))
	}
	about := ""
	for _, d := range a.differences {
		if d.about != about {
			about = d.about
			fmt.Fprintln(&b, about)
			if d.stands != "" {
				fmt.Fprintln(&b, "    stores:", d.stands)
			}
		}
		fmt.Fprintln(&b, "  -", strings.ReplaceAll(d.what, "\n", "\n    "))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// tally is how many of something stand where.
type tally struct {
	who string
	by  map[string]int
}

// counts are the numbers of payments at each bank, and of those that the clearing bank relays,
// by where they stand.
func (a *audit) counts() []string {
	var tallies []tally
	count := func(who, standing string) {
		i := slices.IndexFunc(tallies, func(t tally) bool { return t.who == who })
		if i < 0 {
			i = len(tallies)
			tallies = append(tallies, tally{who, map[string]int{}})
		}
		tallies[i].by[standing]++
	}
	for _, r := range a.records {
		count(fmt.Sprintf("%s, %s payments", r.bank, r.direction), string(r.status))
	}
	for _, r := range a.machines {
		if r.role == roleRelay {
			count(r.owner+", relayed payments", r.outcome.String())
		}
	}
	if len(tallies) == 0 {
		return []string{"There is no payment."}
	}
	var lines []string
	for _, t := range tallies {
		var parts []string
		for _, standing := range slices.Sorted(maps.Keys(t.by)) {
			parts = append(parts, fmt.Sprintf("%s %d", standing, t.by[standing]))
		}
		lines = append(lines, t.who+": "+strings.Join(parts, ", "))
	}
	return lines
}
