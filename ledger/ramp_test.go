package ledger_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// bridge is both sides of a ramp, on books in memory, at one time.
type bridge struct {
	*ledgertest.Ramp
	external, chain ledger.Charter
	book, state     *ledgertest.Memory
	burns           ledgertest.Burns
	nowMS           int64
}

func newBridge() *bridge {
	r := ledgertest.NewRamp("cypherium")
	b := &bridge{Ramp: r, burns: ledgertest.Burns{}, nowMS: start * 1000}
	b.external, b.chain = r.External(b.burns), r.OnChain()
	b.book, b.state = ledgertest.NewMemory(r.Balances()), ledgertest.NewMemory(nil)
	b.book.AddRamp(&b.external)
	b.state.AddRamp(&b.chain)
	return b
}

// do is what a ledger does with a command.
func (b *bridge) do(c *ledger.SignedCommand) (ledger.Crossing, error) {
	charter, book := &b.chain, b.state
	if c.Ledger == b.Backing.Ledger {
		charter, book = &b.external, b.book
	}
	if err := charter.Authenticate(c)[0]; err != nil {
		return ledger.Crossing{}, err
	}
	return charter.Cross(book, b.nowMS, c)
}

func (b *bridge) must(t *testing.T, c *ledger.SignedCommand) {
	t.Helper()
	x, err := b.do(c)
	if err != nil || cypherlink.Hash(x.ID(b.Network)) != c.Command.About(b.Network) {
		t.Fatalf("%T: %+v, %v", c.Command, x, err)
	}
}

func (b *bridge) repeated(t *testing.T, c *ledger.SignedCommand) {
	t.Helper()
	if _, err := b.do(c); !errors.Is(err, ledger.ErrRepeated) {
		t.Fatalf("%T: %v, want ErrRepeated", c.Command, err)
	}
}

func (b *bridge) refused(t *testing.T, c *ledger.SignedCommand, code cypherlink.Code) {
	t.Helper()
	before := b.stands()
	_, err := b.do(c)
	e, ok := errors.AsType[*cypherlink.Error](err)
	if !ok || e.Code != code || len(e.Reason) != 4 || e.Message == "" {
		t.Fatalf("%T: %v, want %s", c.Command, err, code)
	}
	if b.stands() != before {
		t.Fatalf("%T is refused and moved something", c.Command)
	}
}

// standing is what Alice and the ramp hold on both sides.
type standing struct{ account, escrow, claims, supply cypherlink.Amount }

func (b *bridge) stands() standing {
	var s standing
	s.account, _, _ = b.book.Balance(ledgertest.Account(b.Alice), b.Backing)
	s.escrow, _ = b.book.Held(b.Backing)
	s.claims, _, _ = b.state.Balance(ledgertest.Account(b.Alice), b.Claim)
	s.supply, _ = b.state.Held(b.Claim)
	return s
}

// holds wants so much in escrow and so much on the chain.
func (b *bridge) holds(t *testing.T, escrow, claims cypherlink.Amount) {
	t.Helper()
	want := standing{ledgertest.Opening - escrow, escrow, claims, claims}
	if got := b.stands(); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	if total, err := b.book.Total(b.Backing); err != nil || total != 3*ledgertest.Opening {
		t.Fatalf("total %d, %v", total, err)
	}
}

// deposited lets a crossing leave the external ledger, and gives its Enter.
func (b *bridge) deposited(
	t *testing.T, nonce uint64, amount cypherlink.Amount,
) (ledger.Crossing, *ledger.SignedCommand) {
	t.Helper()
	x := b.Deposit(nonce, amount, expiry)
	b.must(t, b.Leave(b.Alice, x))
	return x, b.Enter(b.Alice, x, b.Record(x, nonce, b.nowMS).Encode())
}

// burned lets a crossing leave the chain, and gives its Enter.
func (b *bridge) burned(
	t *testing.T, amount cypherlink.Amount,
) (ledger.Crossing, *ledger.SignedCommand) {
	t.Helper()
	x := b.Burn(1, amount, expiry)
	b.must(t, b.Leave(b.Alice, x))
	b.burns["burn"] = x
	return x, b.Enter(b.Alice, x, []byte("burn"))
}

func TestValueCrossesAndComesBack(t *testing.T) {
	b := newBridge()
	in, credit := b.deposited(t, 1, 10_000)
	b.holds(t, 10_000, 0)
	b.repeated(t, b.Leave(b.Alice, in))
	b.must(t, credit)
	b.holds(t, 10_000, 10_000)
	b.repeated(t, credit)
	b.repeated(t, b.Enter(b.Bob, in, b.Record(in, 9, b.nowMS).Encode())) // told again, otherwise signed

	out, payout := b.burned(t, 4_000)
	b.holds(t, 10_000, 6_000)
	b.repeated(t, b.Leave(b.Alice, out))
	b.must(t, payout)
	b.holds(t, 6_000, 6_000)
	b.repeated(t, payout)
	b.repeated(t, b.Enter(b.Bob, out, []byte("burn")))
	if in.ID(b.Network) == out.ID(b.Network) {
		t.Error("one nonce on two ledgers gives one id")
	}

	// what stands is answered whatever the time is, and what has left may come in at any time
	late, lateCredit := b.deposited(t, 2, 1_000)
	b.nowMS = (expiry + 1) * 1000
	b.repeated(t, b.Leave(b.Alice, in))
	b.must(t, lateCredit)
	b.repeated(t, b.Leave(b.Alice, late))
	b.holds(t, 7_000, 7_000)
}

func TestRefusedLeaves(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(b *bridge, x *ledger.Crossing)
		code cypherlink.Code
	}{
		{"nothing", func(_ *bridge, x *ledger.Crossing) { x.Amount = 0 }, ledger.CodeMalformed},
		{"less than nothing", func(_ *bridge, x *ledger.Crossing) { x.Amount = -1 }, ledger.CodeMalformed},
		{"the least amount", func(_ *bridge, x *ledger.Crossing) { x.Amount = math.MinInt64 }, ledger.CodeMalformed},
		{"more than there is", func(_ *bridge, x *ledger.Crossing) { x.Amount = ledgertest.Opening + 1 }, ledger.CodeFunds},
		{"the largest amount", func(_ *bridge, x *ledger.Crossing) { x.Amount = math.MaxInt64 }, ledger.CodeFunds},
		{"no time", func(_ *bridge, x *ledger.Crossing) { x.Expiry = 0 }, ledger.CodeMalformed},
		{"a time of no calendar", func(_ *bridge, x *ledger.Crossing) { x.Expiry = math.MaxInt64 }, ledger.CodeMalformed},
		{"too late", func(b *bridge, x *ledger.Crossing) { x.Expiry = b.nowMS / 1000 }, ledger.CodeLapsed},
		{"another scale", func(_ *bridge, x *ledger.Crossing) { x.Asset.Scale++ }, ledger.CodeUnknownAsset},
		{"an account that is not open", func(_ *bridge, x *ledger.Crossing) { x.From = 1 }, ledger.CodeUnknownAccount},
		{"from an escrow number", func(_ *bridge, x *ledger.Crossing) { x.From = ledger.EscrowNumber }, ledger.CodeNotAllowed},
		{"to an escrow number", func(_ *bridge, x *ledger.Crossing) { x.To = ledger.EscrowNumber }, ledger.CodeNotAllowed},
		{"out of channels", func(_ *bridge, x *ledger.Crossing) { x.From = ledger.ChannelNumber }, ledger.CodeNotAllowed},
		{"into channels", func(_ *bridge, x *ledger.Crossing) { x.To = ledger.ChannelNumber }, ledger.CodeNotAllowed},
		{"another's account", func(b *bridge, x *ledger.Crossing) { x.Owner = b.Bob.ID }, ledger.CodeNotAllowed},
		{"the operator's", func(b *bridge, x *ledger.Crossing) { x.Owner = b.Operator.ID }, ledger.CodeNotAllowed},
	} {
		for name, draw := range map[string]func(b *bridge) ledger.Crossing{
			"deposit": func(b *bridge) ledger.Crossing { return b.Deposit(7, 1_000, expiry) },
			"burn":    func(b *bridge) ledger.Crossing { return b.Burn(7, 1_000, expiry) },
		} {
			t.Run(name+" of "+tt.name, func(t *testing.T) {
				b := newBridge()
				_, credit := b.deposited(t, 1, 10_000)
				b.must(t, credit)
				x := draw(b)
				tt.edit(b, &x)
				b.refused(t, b.Leave(b.Alice, x), tt.code)
				b.must(t, b.Leave(b.Alice, draw(b))) // the control
			})
		}
	}
	t.Run("an asset that does not cross", func(t *testing.T) {
		b := newBridge()
		x := b.Deposit(1, 1, expiry)
		x.Asset = b.Free
		b.refused(t, b.Leave(b.Alice, x), ledger.CodeUnknownAsset)
	})
	t.Run("another content under the nonce", func(t *testing.T) {
		b := newBridge()
		x, _ := b.deposited(t, 1, 1_000)
		x.Amount++
		b.refused(t, b.Leave(b.Alice, x), ledger.CodeCrossingDiffers)
		x.Amount--
		x.To++
		b.refused(t, b.Leave(b.Alice, x), ledger.CodeCrossingDiffers)
		b.holds(t, 1_000, 0)
	})
	t.Run("more than the chain has credited", func(t *testing.T) {
		b := newBridge()
		_, credit := b.deposited(t, 1, 1_000)
		b.refused(t, b.Leave(b.Alice, b.Burn(1, 1, expiry)), ledger.CodeUnknownAccount)
		b.must(t, credit)
		b.refused(t, b.Leave(b.Alice, b.Burn(1, 1_001, expiry)), ledger.CodeFunds)
	})
}

func TestForgedDeposits(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(b *bridge, r *ledger.RampRecord, x *ledger.Crossing) // before the operator signs
		by   func(b *bridge) ledgertest.Actor
		code cypherlink.Code
	}{
		{"of another operator", nil, func(b *bridge) ledgertest.Actor { return b.Mallory }, ledger.CodeEvidence},
		{"of another ledger", func(_ *bridge, r *ledger.RampRecord, _ *ledger.Crossing) {
			r.Passage.Ledger = "df"
		}, nil, ledger.CodeEvidence},
		{"of another network", func(_ *bridge, r *ledger.RampRecord, _ *ledger.Crossing) {
			r.Network[0]++
		}, nil, ledger.CodeEvidence},
		{"of another amount than is credited", func(_ *bridge, _ *ledger.RampRecord, x *ledger.Crossing) {
			x.Amount++
		}, nil, ledger.CodeEvidence},
		{"to another account than is credited", func(_ *bridge, _ *ledger.RampRecord, x *ledger.Crossing) {
			x.To++
		}, nil, ledger.CodeEvidence},
		{"of a stranger to the asset", func(b *bridge, r *ledger.RampRecord, x *ledger.Crossing) {
			x.Asset = b.Free
			r.Passage.Crossing = *x
		}, nil, ledger.CodeUnknownAsset},
		{"that left after its expiry", func(_ *bridge, r *ledger.RampRecord, _ *ledger.Crossing) {
			r.Passage.TimeMS = expiry * 1000
		}, nil, ledger.CodeEvidence},
		{"without a number", func(_ *bridge, r *ledger.RampRecord, _ *ledger.Crossing) {
			r.Passage.Sequence = 0
		}, nil, ledger.CodeEvidence},
		{"of less than nothing", func(_ *bridge, r *ledger.RampRecord, x *ledger.Crossing) {
			x.Amount = -5
			r.Passage.Crossing = *x
		}, nil, ledger.CodeEvidence},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBridge()
			x, credit := b.deposited(t, 1, 1_000)
			forged := x
			record := b.Record(x, 1, b.nowMS)
			if tt.edit != nil {
				tt.edit(b, record, &forged)
			}
			signer := b.Operator
			if tt.by != nil {
				signer = tt.by(b)
			}
			record.Signature, _ = signer.Sign(record.Frame())
			b.refused(t, b.Enter(b.Alice, forged, record.Encode()), tt.code)
			b.must(t, credit) // the control
		})
	}
	t.Run("every byte of the record counts", func(t *testing.T) {
		b := newBridge()
		x, _ := b.deposited(t, 1, 1_000)
		good := b.Record(x, 1, b.nowMS).Encode()
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 1
			b.refused(t, b.Enter(b.Alice, x, bad), ledger.CodeEvidence)
		}
		b.refused(t, b.Enter(b.Alice, x, append(good, 0)), ledger.CodeEvidence)
		b.refused(t, b.Enter(b.Alice, x, nil), ledger.CodeEvidence)
	})
	t.Run("what came in is no deposit", func(t *testing.T) {
		b := newBridge()
		_, credit := b.deposited(t, 1, 1_000)
		b.must(t, credit)
		out, payout := b.burned(t, 400)
		b.must(t, payout)
		paid := b.Record(out, 2, b.nowMS).Encode()
		b.refused(t, b.signed(b.Claim.Ledger, out, paid), ledger.CodeUnknownAsset)
	})
	t.Run("an operator that is struck off", func(t *testing.T) {
		b := newBridge()
		_, credit := b.deposited(t, 1, 1_000)
		delete(b.chain.Keys.(ledgertest.Keys), b.Operator.ID)
		b.refused(t, credit, ledger.CodeEvidence)
	})
	t.Run("two records of one deposit", func(t *testing.T) {
		b := newBridge()
		x, credit := b.deposited(t, 1, 1_000)
		b.must(t, credit)
		x.Amount = 5_000 // the operator says two things
		b.refused(t, b.Enter(b.Alice, x, b.Record(x, 1, b.nowMS).Encode()), ledger.CodeCrossingDiffers)
		b.holds(t, 1_000, 1_000)
	})
	t.Run("more than an amount holds", func(t *testing.T) {
		b := newBridge()
		_, credit := b.deposited(t, 1, 1_000)
		b.must(t, credit)
		x := b.Deposit(2, math.MaxInt64-999, expiry) // the operator has no such escrow
		b.refused(t, b.Enter(b.Alice, x, b.Record(x, 2, b.nowMS).Encode()), ledger.CodeBacking)
		x.Amount--
		b.must(t, b.Enter(b.Alice, x, b.Record(x, 2, b.nowMS).Encode()))
	})
}

// signed is an Enter to that ledger, wherever the crossing comes from.
func (b *bridge) signed(id cypherlink.LedgerID, x ledger.Crossing, evidence []byte) *ledger.SignedCommand {
	c := b.Enter(b.Alice, x, evidence)
	c.Ledger = id
	ledgertest.Resign(b.Alice, c)
	return c
}

func TestRefusedWithdrawals(t *testing.T) {
	begin := func(t *testing.T) (*bridge, ledger.Crossing) {
		t.Helper()
		b := newBridge()
		_, credit := b.deposited(t, 1, 10_000)
		b.must(t, credit)
		x, _ := b.burned(t, 4_000)
		return b, x
	}
	t.Run("no proof", func(t *testing.T) {
		b, x := begin(t)
		b.refused(t, b.Enter(b.Alice, x, nil), ledger.CodeEvidence)
		b.refused(t, b.Enter(b.Alice, x, []byte("another")), ledger.CodeEvidence)
		// the operator's own word is none
		b.refused(t, b.Enter(b.Alice, x, b.Record(x, 1, b.nowMS).Encode()), ledger.CodeEvidence)
		b.holds(t, 10_000, 6_000)
	})
	t.Run("another burn's proof", func(t *testing.T) {
		b, x := begin(t)
		x.Nonce++
		b.refused(t, b.Enter(b.Alice, x, []byte("burn")), ledger.CodeEvidence)
		x.Nonce--
		x.Amount++
		b.refused(t, b.Enter(b.Alice, x, []byte("burn")), ledger.CodeEvidence)
	})
	t.Run("another asset's burn", func(t *testing.T) {
		b, x := begin(t)
		x.Asset.Code = "USD"
		b.burns["other"] = x
		b.refused(t, b.signed(b.Backing.Ledger, x, []byte("other")), ledger.CodeUnknownAsset)
	})
	t.Run("to an account that is not open", func(t *testing.T) {
		b, x := begin(t)
		x.To, x.Nonce = 5, 2
		b.burns["other"] = x
		b.refused(t, b.Enter(b.Alice, x, []byte("other")), ledger.CodeUnknownAccount)
	})
	t.Run("to the escrow account", func(t *testing.T) {
		b, x := begin(t)
		x.Owner, x.To = b.Operator.ID, ledger.EscrowNumber
		b.burns["other"] = x
		b.refused(t, b.Enter(b.Alice, x, []byte("other")), ledger.CodeNotAllowed)
	})
	t.Run("more than is in escrow", func(t *testing.T) {
		b, x := begin(t)
		x.Amount, x.Nonce = 10_001, 2
		b.burns["other"] = x
		b.refused(t, b.Enter(b.Alice, x, []byte("other")), ledger.CodeBacking)
	})
	t.Run("a ledger that verifies no burns", func(t *testing.T) {
		b, x := begin(t)
		b.external.Burns = nil
		b.refused(t, b.Enter(b.Alice, x, []byte("burn")), ledger.CodeEvidence)
	})
	t.Run("a stranger", func(t *testing.T) {
		b, x := begin(t)
		b.refused(t, b.Enter(b.Stranger, x, []byte("burn")), ledger.CodeUnknownSigner)
	})
}

// What is in escrow moves over the ramp alone, and each kind of command has its own rules.
func TestEscrowIsNobodys(t *testing.T) {
	for name, edit := range map[string]func(p *ledgertest.Payment, escrow cypherlink.Account){
		"from": func(p *ledgertest.Payment, escrow cypherlink.Account) { p.Subject.Fields.Debit = escrow },
		"to":   func(p *ledgertest.Payment, escrow cypherlink.Account) { p.Subject.Fields.Credit = escrow },
	} {
		b := newBridge()
		b.deposited(t, 1, 10_000)
		p := b.Payment("one", 700, expiry)
		edit(&p, b.Escrow())
		c := b.Prepare(p)
		if name == "from" {
			c.Signer = b.Operator.ID
			ledgertest.Resign(b.Operator, c)
		}
		if err := b.external.Authenticate(c)[0]; err != nil {
			t.Fatal(err)
		}
		_, err := b.external.Apply(b.book, b.nowMS, c)
		if cypherlink.ErrorCode(err) != ledger.CodeNotAllowed {
			t.Errorf("a custody %s escrow: %v", name, err)
		}
	}
	b := newBridge()
	x := b.Deposit(1, 1, expiry)
	if _, err := b.external.Apply(b.book, b.nowMS, b.Leave(b.Alice, x)); cypherlink.ErrorCode(err) != ledger.CodeMalformed {
		t.Errorf("a crossing is applied as a custody: %v", err)
	}
	stranger := b.Leave(b.Alice, x)
	stranger.Signer = b.Stranger.ID
	_, err := b.external.Cross(b.book, b.nowMS, stranger)
	if cypherlink.ErrorCode(err) != ledger.CodeUnknownSigner {
		t.Errorf("Cross takes a stranger's command: %v", err)
	}
	p := b.Payment("one", 700, expiry)
	for _, c := range []*ledger.SignedCommand{b.Prepare(p), b.Confirm(b.Bob, p), b.Return(b.Bob, p)} {
		b.refused(t, c, ledger.CodeMalformed)
	}
}

func TestBackingsValid(t *testing.T) {
	other := cypherlink.Asset{Ledger: "cypherium", Code: "EUR", Scale: 2}
	for name, edit := range map[string]func(c *ledger.Charter, r *ledgertest.Ramp){
		"an asset that is not the ledger's": func(c *ledger.Charter, r *ledgertest.Ramp) {
			c.Backings[other] = c.Backings[r.Backing]
		},
		"one other side of two": func(c *ledger.Charter, r *ledgertest.Ramp) {
			c.Backings[r.Free] = c.Backings[r.Backing]
		},
		"the same ledger": func(c *ledger.Charter, r *ledgertest.Ramp) {
			c.Backings[r.Backing] = ledger.Backing{Other: r.Free, Escrow: r.Escrow()}
		},
		"another scale": func(c *ledger.Charter, r *ledgertest.Ramp) {
			odd := other
			odd.Scale = 3
			c.Backings[r.Backing] = ledger.Backing{Other: odd, Escrow: r.Escrow()}
		},
		"neither escrow nor operator": func(c *ledger.Charter, r *ledgertest.Ramp) {
			c.Backings[r.Backing] = ledger.Backing{Other: other}
		},
		"escrow and operator": func(c *ledger.Charter, r *ledgertest.Ramp) {
			c.Backings[r.Backing] = ledger.Backing{Other: other, Escrow: r.Escrow(), Operator: r.Operator.ID}
		},
	} {
		r := ledgertest.NewRamp("cypherium")
		c := r.External(nil)
		if err := c.Valid(); err != nil {
			t.Fatal(err)
		}
		edit(&c, r)
		if err := c.Valid(); !errors.Is(err, ledger.ErrCharter) {
			t.Errorf("%s: %v", name, err)
		}
	}
	onChain := ledgertest.NewRamp("cypherium").OnChain()
	if err := onChain.Valid(); err != nil {
		t.Error(err)
	}
}

// brokenRamp is a book that cannot be read or written from some call on.
type brokenRamp struct {
	*failing
}

func (f brokenRamp) Held(asset cypherlink.Asset) (cypherlink.Amount, error) {
	if f.fails() {
		return 0, errBroken
	}
	return f.Memory.Held(asset)
}

func (f brokenRamp) Crossing(id ledger.CrossingID) (ledger.Crossing, bool, error) {
	if f.fails() {
		return ledger.Crossing{}, false, errBroken
	}
	return f.Memory.Crossing(id)
}

func (f brokenRamp) Cross(asset cypherlink.Asset, x ledger.Crossing) error {
	if f.fails() {
		return errBroken
	}
	return f.Memory.Cross(asset, x)
}

func TestErrorsOfTheRampBook(t *testing.T) {
	b := newBridge()
	in := b.Deposit(1, 1_000, expiry)
	b.burns["burn"] = b.Burn(1, 400, expiry)
	for _, s := range []struct {
		command *ledger.SignedCommand
		charter *ledger.Charter
		book    *ledgertest.Memory
		calls   int
	}{
		{b.Leave(b.Alice, in), &b.external, b.book, 3},
		{b.Enter(b.Alice, in, b.Record(in, 1, b.nowMS).Encode()), &b.chain, b.state, 3},
		{b.Leave(b.Alice, b.burns["burn"]), &b.chain, b.state, 3},
		{b.Enter(b.Alice, b.burns["burn"], []byte("burn")), &b.external, b.book, 4},
	} {
		for calls := range s.calls + 1 {
			_, err := s.charter.Cross(brokenRamp{&failing{Memory: s.book, calls: calls}}, b.nowMS, s.command)
			if calls < s.calls && (!errors.Is(err, errBroken) || cypherlink.ErrorCode(err) != "internal") ||
				calls == s.calls && err != nil {
				t.Fatalf("%T with %d calls that work: %v", s.command.Command, calls, err)
			}
		}
	}
	b.holds(t, 600, 600)
}

// Whatever the owner and the operator's and the chain's readers send, in whatever order and number,
// no value is made or lost: escrow is what is on the chain and what is on its way.
func TestRampConservesMoney(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBridge()
		type sent struct {
			x    ledger.Crossing
			left bool
			in   bool
		}
		var all []*sent
		t.Repeat(map[string]func(*rapid.T){
			"leave": func(t *rapid.T) {
				nonce := rapid.Uint64Range(1, 6).Draw(t, "nonce")
				amount := rapid.SampledFrom([]cypherlink.Amount{1, 300_000, ledgertest.Opening, math.MaxInt64}).
					Draw(t, "amount")
				x := b.Deposit(nonce, amount, start+rapid.Int64Range(1, 30).Draw(t, "expiry"))
				if rapid.Bool().Draw(t, "burn") {
					x.Asset = b.Claim
				}
				_, err := b.do(b.Leave(b.Alice, x))
				if err == nil {
					all = append(all, &sent{x: x, left: true})
					b.burns[x.ID(b.Network).String()] = x
				} else if !errors.Is(err, ledger.ErrRepeated) && cypherlink.ErrorCode(err) == "internal" {
					t.Fatal(err)
				}
			},
			"enter": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip("nothing has left")
				}
				s := rapid.SampledFrom(all).Draw(t, "which")
				evidence := []byte(s.x.ID(b.Network).String())
				if s.x.Asset == b.Backing {
					evidence = b.Record(s.x, rapid.Uint64Range(1, 9).Draw(t, "sequence"), b.nowMS).Encode()
				}
				if b.nowMS/1000 >= s.x.Expiry && s.x.Asset == b.Backing {
					evidence = b.Record(s.x, 1, (s.x.Expiry-1)*1000).Encode()
				}
				_, err := b.do(b.Enter(b.Bob, s.x, evidence))
				if s.in != errors.Is(err, ledger.ErrRepeated) || !s.in && err != nil {
					t.Fatalf("in %v: %v", s.in, err)
				}
				s.in = true
			},
			"wait": func(t *rapid.T) { b.nowMS += rapid.Int64Range(1, 4000).Draw(t, "ms") },
			"": func(t *rapid.T) {
				s := b.stands()
				want := s.supply
				for _, x := range all {
					if !x.in {
						want += x.x.Amount
					}
				}
				if s.escrow != want || s.supply != s.claims || s.account+s.escrow != ledgertest.Opening {
					t.Fatalf("%+v, on its way %d", s, want-s.supply)
				}
			},
		})
	})
}

// Only who is active lets value leave. What has left comes in whatever its owner's status is by now:
// by anybody active, or by its owner, unless that is revoked.
func TestStatusesOnTheRamp(t *testing.T) {
	for _, tt := range []struct {
		status ledger.Status
		code   cypherlink.Code
		own    bool // the owner brings its own
	}{
		{ledger.Suspended, ledger.CodeSuspended, true},
		{ledger.NotValid, ledger.CodeNotValid, true},
		{ledger.Revoked, ledger.CodeRevoked, false},
	} {
		t.Run(tt.status.String(), func(t *testing.T) {
			b := newBridge()
			status := map[cypherlink.ParticipantID]ledger.Status{}
			b.external.Signers, b.chain.Signers = roll{b.external.Keys, status}, roll{b.chain.Keys, status}
			one, credit := b.deposited(t, 1, 1_000)
			_, other := b.deposited(t, 2, 500)
			b.must(t, credit)
			out, payout := b.burned(t, 400)
			status[b.Alice.ID] = tt.status
			b.refused(t, b.Leave(b.Alice, b.Deposit(3, 1, expiry)), tt.code)
			b.refused(t, b.Leave(b.Alice, b.Burn(3, 1, expiry)), tt.code)
			if tt.own { // what stands comes first
				b.repeated(t, b.Leave(b.Alice, one))
				b.must(t, other)
				b.must(t, payout)
			} else {
				b.refused(t, other, tt.code)
				b.refused(t, payout, tt.code)
				b.must(t, b.Enter(b.Bob, b.Deposit(2, 500, expiry), other.Command.(*ledger.Enter).Evidence))
				b.must(t, b.Enter(b.Bob, out, []byte("burn")))
			}
			b.holds(t, 1_100, 1_100)
			status[b.Alice.ID], status[b.Bob.ID] = ledger.Active, tt.status
			x, _ := b.deposited(t, 4, 50)
			b.refused(t, b.Enter(b.Bob, x, b.Record(x, 4, b.nowMS).Encode()), tt.code)
		})
	}
}
