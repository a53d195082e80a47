package channels

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is the protocol with a rule broken, as a change of a source file, or of what may happen.
type mutant struct {
	name string
	// edits are file, old text, new text.
	edits [][3]string
	// world is where it has to be caught.
	world string
}

// worlds are those of mutants: every one in which the protocol holds, and those that break it.
func worlds() map[string]bounds {
	all := everywhere()
	all["window of one block"] = bounds{
		lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{2, 2}, disputes: 1, ticks: 5, window: 2,
	}
	all["no window"] = bounds{
		lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{2, 2}, disputes: 1, ticks: 5, window: 1,
	}
	all["forgetful"] = bounds{
		lone: true, byzantine: B, funds: [2]int64{2, 1}, pays: [2]int8{3, 2}, ticks: 1, restarts: 1, forgetful: true,
		equivocation: 1,
	}
	return all
}

// locking are worlds in which locks come to their expiry.
func locking() map[string]bounds {
	all := map[string]bounds{}
	all["outgoing lock, closing"] = bounds{
		lone: true, byzantine: B, funds: [2]int64{1, 1}, locks: [2]int8{1, 0}, closes: 1, ticks: 7, quick: 2,
	}
	all["incoming lock, challenged"] = bounds{
		lone: true, byzantine: B, funds: [2]int64{1, 1}, locks: [2]int8{0, 1}, pays: [2]int8{0, 1}, disputes: 1, ticks: 5,
	}
	all["off chain"] = bounds{
		lone: true, byzantine: B, funds: [2]int64{1, 1}, locks: [2]int8{0, 1}, pays: [2]int8{0, 3}, disputes: 1,
		ticks: 8, offChain: 10,
	}
	return all
}

// mutants are those of the design page.
func mutants() []mutant {
	one := func(file, from, to string) [][3]string { return [][3]string{{file, from, to}} }
	return []mutant{
		{"a refund on a reject", one("party.go",
			"return nil // advisory; the shell tells the operator",
			"p.tell(FactVoid, p.s.Side, m.Slot.Seq, m.Slot.Seq); return nil"), "byzantine payer and payee"},
		{
			"giving up when an offer waits too long", one("adopt.go",
				"	p.disputed[lane] = true\n", "	p.disputed[lane] = true\n	p.tell(FactVoid, lane, p.d.lanes[lane].certified+1, p.d.lanes[lane].last.Seq)\n"),
			"byzantine payer and payee",
		},
		{
			"a refund when a challenge opens", one("adopt.go",
				"		p.best()\n", "		p.best()\n		p.tell(FactVoid, p.s.Side, p.own().certified+1, p.own().last.Seq)\n"),
			"byzantine payer and payee",
		},
		{"the chain ignores the generation", one("rules.go",
			"slot.Gen == l.Gen && slot.Seq > l.Head.Seq", "slot.Seq > l.Head.Seq"), "byzantine payer and payee"},
		{"a bank cuts alone", one("rules.go",
			"	l.Challenge = Challenge{Seq: a.Slot.Seq, Since: now}\n", "	l.Gen++\n"), "byzantine payer and payee"},
		{"no dep", [][3]string{
			{"payer.go", "dep := p.peer().relied()", "dep := p.peer().last.Paid"},
			{"payer.go", "Prev: at.Hash, Dep: dep,", "Prev: at.Hash,"},
			{"payee.go", "p.free(u.Lane, u.Dep, u.Head) < 0", "p.free(u.Lane, p.own().last.Paid, u.Head) < 0"},
		}, "byzantine cuts"},
		{"the writer relies on an unbound head", one("payer.go",
			"dep := p.peer().relied()", "dep := p.peer().last.Paid"), "byzantine cuts"},
		{"the payee relies on an unbound head", one("payee.go",
			"u.Dep > p.own().relied()", "u.Dep > p.own().last.Paid"), "byzantine payer and payee"},
		{
			"bound while challenged", one("party.go",
				"on.Challenge != (Challenge{}) || on.Gen != p.d", "on.Gen != p.d"),
			"byzantine payer and payee",
		},
		{"bound under a joint close", one("party.go",
			"		case Settlement:\n			return p.live(&j)\n", "		case Settlement:\n			return false\n"), "byzantine settles"},
		{"bound under a joint cut", one("party.go",
			"return p.live(&j) && do.Lane == lane", "return p.live(&j) && do.Lane == lane && do.Lane > B"), "byzantine cuts"},
		{
			"neither head may be below the chain's", one("rules.go",
				"		if !c.advances(u.Lane, u.Slot()) {\n			continue\n",
				"		if !c.advances(u.Lane, u.Slot()) {\n			return refuse(T2, reasonFailed, \"lower\")\n"),
			"byzantine payer and payee",
		},
		{"a release is not deducted", one("party.go",
			"r.By == side && p.live(&p.d.joints[i])", "r.By > B && p.live(&p.d.joints[i])"), "byzantine releases"},
		{"a log that is not durable", nil, "forgetful"},
		{"no cut after a restore", one("adopt.go",
			"	p.persist(Barred{[2]uint32{p.d.lanes[A].gen, p.d.lanes[B].gen}})\n", ""), "byzantine, restored"},
		{"no window", nil, "no window"},
		{"a window of one block", nil, "window of one block"},
		{"a deadline by time alone", one("rules.go",
			"now.S > since.S+l.WindowS && now.Height >= since.Height+l.Blocks", "now.S > since.S+l.WindowS"), "outage"},
		{"the chain pays for a lock's certificate", one("rules.go",
			"rules.Revealed(lock.Condition); ok && s < lock.Expiry {\n				earned",
			"rules.Revealed(lock.Condition); ok || s < lock.Expiry {\n				earned"), "outgoing lock, closing"},
		{"upstream fails when the unlock is written", one("lock.go",
			"			return p.order([]Operation{Unlock(m)})\n",
			"			p.tellGone(l)\n			return p.order([]Operation{Unlock(m)})\n"), "outgoing lock, closing"},
		{"an unlock one second early", one("lock.go",
			"p.view.Now.S >= l.Expiry && ", "p.view.Now.S >= l.Expiry-1 && "), "outgoing lock, closing"},
		{"a late reveal counts", one("rules.go",
			"rules.Revealed(lock.Condition); ok && s < lock.Expiry {\n				earned",
			"rules.Revealed(lock.Condition); ok && s <= lock.Expiry {\n				earned"), "outgoing lock, closing"},
		{"no margin before a release", one("lock.go",
			"p.view.Now.S+p.s.LagS+p.s.InclusionS >= lock.Expiry", "p.view.Now.S >= lock.Expiry"), "incoming lock"},
		{"a margin of one second", one("lock.go",
			"p.view.Now.S+p.s.LagS+p.s.InclusionS >= lock.Expiry", "p.view.Now.S+1 >= lock.Expiry"), "incoming lock"},
		{"a preimage released for an unbound lock", one("lock.go",
			"	settled := l.locksAt(l.bound)\n", "	settled := l.last.locks\n"), "incoming lock, challenged"},
		{
			"an unbound settle is taken for the end", one("lock.go",
				"	settled := l.locksAt(l.bound)\n",
				"	settled := slices.DeleteFunc(slices.Clone(l.locksAt(l.bound)), func(k Lock) bool { return !slices.Contains(l.last.locks, k) })\n"),
			"off chain",
		},
	}
}

// mutated names, to a process of this test, the world that has to be caught.
const mutated = "CYPHERLINK_CHANNELS_WORLD"

// TestMutated explores the world that the environment names.
func TestMutated(t *testing.T) {
	name := os.Getenv(mutated)
	if name == "" {
		name = "byzantine payer and payee"
	}
	b, ok := worlds()[name]
	if !ok {
		t.Fatalf("no world %q", name)
	}
	x := &explorer{seen: map[[16]byte]bool{}, limit: 50_000}
	x.walk(b, 2, 2000, 60)
	if x.err == nil {
		x.from(newWorld(b), 1000)
	}
	x.report(t)
}

// TestMutantsAreCaught compiles each mutant and lets the explorer loose on it: it has to find a
// violation. Else the explorer would be one that cannot fail.
func TestMutantsAreCaught(t *testing.T) {
	all := mutants()
	if testing.Short() {
		all = all[3:6]
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"test", "-count=1", "-vet=off", "-run", "^TestMutated$"}
			if len(m.edits) > 0 {
				args = append(args, "-overlay", overlay(t, m.edits))
			}
			cmd := exec.CommandContext(t.Context(), "go", append(args, ".")...)
			cmd.Env = append(os.Environ(), mutated+"="+m.world)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "violation: ") {
				t.Fatalf("not caught: %v\n%s", err, out)
			}
		})
	}
}

// overlay writes the changed files, and the list of them that the go command reads.
func overlay(t *testing.T, edits [][3]string) string {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for _, e := range edits {
		source := filepath.Join(here, e[0])
		from := source
		if already, ok := replace[source]; ok {
			from = already
		}
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(raw), e[1]); n != 1 {
			t.Fatalf("%s has %q %d times", e[0], e[1], n)
		}
		changed := filepath.Join(dir, e[0])
		if err := os.WriteFile(changed, []byte(strings.Replace(string(raw), e[1], e[2], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[source] = changed
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
