package tap

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/merkle"
)

// feed is 23 records of a town, of which several stand in one block, and the head after them.
func feed(tb testing.TB) (*town, []Record, Head) {
	tb.Helper()
	w := newTown(tb)
	for _, events := range []int{1, 0, 3, 7, 2, 0, 1, 5, 4} {
		w.block(tb, events)
	}
	f := w.following(tb, w)
	w.reach(tb, f)
	s := &server{o: Options{Feed: f}}
	h, err := s.newest(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	all := records(tb, f)
	if len(all) != 23 || h.FeedSize != 23 {
		tb.Fatalf("%d records, %+v", len(all), h)
	}
	return w, all, again(tb, h)
}

func newCheck(tb testing.TB, w *town, after Checkpoint) *Check {
	tb.Helper()
	if w.check == nil {
		var err error
		if w.check, err = NewCheck(w.Genesis, Checkpoint{}); err != nil {
			tb.Fatal(err)
		}
	}
	c := *w.check // the committee takes a while to make
	c.due, c.log = after.Size+1, after
	c.accused, c.roots = map[uint64]bool{}, map[uint64]cypherlink.Hash{}
	return &c
}

// checked is what a check says of records and a head.
func checked(tb testing.TB, w *town, all []Record, h Head) Report {
	tb.Helper()
	c := newCheck(tb, w, Checkpoint{})
	for i := range all {
		c.Record(&all[i])
	}
	c.Head(&h)
	return c.Report()
}

// told are the faults in short.
func told(r Report) string {
	var all []string
	for _, f := range r.Faults {
		text := fmt.Sprint(f.Kind, " ", f.Number)
		if f.Last != f.Number {
			text += fmt.Sprint("-", f.Last)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestAFeedThatHolds(t *testing.T) {
	w, all, h := feed(t)
	r := checked(t, w, all, h)
	if len(r.Faults) != 0 || r.Records != 23 || r.Checkpoint.Size != 23 || r.Checkpoint.Root() != h.FeedRoot ||
		r.Head.Height != 9 || r.Stopped {
		t.Fatalf("%s, %+v", told(r), r)
	}
	// The same as saved lines, page after page and head after head.
	c := newCheck(t, w, Checkpoint{})
	c.Line(line(t, headOf(w.genesisHeader(t), nil)))
	for at := 0; at < len(all); at += 5 {
		c.Line(line(t, Page{Records: all[at:min(at+5, len(all))]}))
		c.Line(line(t, all[min(at+4, len(all)-1)].Head))
	}
	c.Line(line(t, h))
	if r := c.Report(); len(r.Faults) != 0 || r.Checkpoint.Size != 23 {
		t.Fatal(told(r))
	}
}

func (w *town) genesisHeader(tb testing.TB) chain.Header {
	tb.Helper()
	h, err := w.state.HeaderAt(0)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// T2: what was dropped, edited, reordered or repeated is named by its number.
func TestNamedByNumber(t *testing.T) {
	w, all, h := feed(t)
	at := func(number int) *Record { return &all[number-1] }
	for _, tt := range []struct {
		name string
		edit func(all []Record) []Record
		want string
	}{
		{"the first dropped", func(a []Record) []Record { return a[1:] }, "dropped 1"},
		{"one dropped", func(a []Record) []Record { return slices.Delete(a, 6, 7) }, "dropped 7"},
		{"three dropped", func(a []Record) []Record { return slices.Delete(a, 6, 9) }, "dropped 7-9"},
		{"two places dropped", func(a []Record) []Record {
			return slices.Delete(slices.Delete(a, 9, 10), 2, 4)
		}, "dropped 3-4, dropped 10"},
		{"the last dropped", func(a []Record) []Record { return a[:22] }, "dropped 23"},
		{"all dropped", func([]Record) []Record { return nil }, "dropped 1-23"},
		{"a pair reordered", func(a []Record) []Record {
			a[4], a[5] = a[5], a[4]
			return a
		}, "reordered 5"},
		{"one comes much later", func(a []Record) []Record {
			return slices.Insert(slices.Delete(a, 4, 5), 11, *at(5))
		}, "reordered 5"},
		{"one repeated at once", func(a []Record) []Record { return slices.Insert(a, 5, *at(5)) }, "repeated 5"},
		{"one repeated later", func(a []Record) []Record { return append(a, *at(5)) }, "repeated 5"},
		{"one twice, and another dropped", func(a []Record) []Record {
			a[7] = *at(5)
			return a
		}, "repeated 5, dropped 8"},
		{"another number", func(a []Record) []Record {
			a[6].Number = 20
			return a
		}, "edited 7"},
		{"two numbers exchanged", func(a []Record) []Record {
			a[6].Number, a[7].Number = 8, 7
			return a
		}, "edited 7, edited 8"},
		{"dropped, and those after it renumbered", func(a []Record) []Record {
			for i := 10; i < len(a); i++ {
				a[i].Number--
			}
			return slices.Delete(a, 9, 10)
		}, "edited 10, edited 11, edited 12, edited 13, edited 14, edited 15, edited 16, edited 17, " +
			"edited 18, edited 19, edited 20, edited 21, edited 22, dropped 23"},
		{"another event's bytes", func(a []Record) []Record {
			a[6].Event = at(8).Event
			return a
		}, "edited 7"},
		{"a byte of the event", func(a []Record) []Record {
			a[6].Event = bytes.Clone(a[6].Event)
			a[6].Event[40] ^= 1
			return a
		}, "edited 7"},
		{"another height", func(a []Record) []Record {
			a[6].Height++
			return a
		}, "edited 7"},
		{"another time", func(a []Record) []Record {
			a[6].Time = a[6].Time.Add(1_000_000)
			return a
		}, "edited 7"},
		{"another kind", func(a []Record) []Record {
			a[6].Kind = "other"
			return a
		}, "edited 7"},
		{"another amount to read", func(a []Record) []Record {
			a[6].Fields = bytes.Replace(a[6].Fields, []byte(`"amount":"`), []byte(`"amount":"9`), 1)
			return a
		}, "edited 7"},
		{"a field more", func(a []Record) []Record {
			a[6].Fields = append([]byte(`{"x":1,`), a[6].Fields[1:]...)
			return a
		}, "edited 7"},
		{"a step of the path", func(a []Record) []Record {
			a[6].Path = slices.Clone(a[6].Path)
			a[6].Path[1][0] ^= 1
			return a
		}, "edited 7"},
		{"no path", func(a []Record) []Record {
			a[6].Path = nil
			return a
		}, "edited 7"},
		{"a head that says another size", func(a []Record) []Record {
			a[6].Head.FeedSize++
			return a
		}, "edited 7"},
		{"a head that says another time", func(a []Record) []Record {
			a[6].Head.Time = a[6].Head.Time.Add(1)
			return a
		}, "edited 7"},
		{"a head of genesis", func(a []Record) []Record {
			a[6].Head = again(t, headOf(w.genesisHeader(t), nil))
			return a
		}, "edited 7"},
		{"an earlier head", func(a []Record) []Record {
			a[21].Head = at(2).Head
			return a
		}, "edited 22"},
		{"a head without its proof", func(a []Record) []Record {
			a[6].Head.Finality = nil
			return a
		}, "unproved 7"},
		{"a proof with another byte", func(a []Record) []Record {
			a[6].Head.Finality = bytes.Clone(a[6].Head.Finality)
			a[6].Head.Finality[60] ^= 1
			return a
		}, "unproved 7"},
		{"one edited, another dropped behind it", func(a []Record) []Record {
			a[6].Event = at(9).Event
			return slices.Delete(a, 7, 8)
		}, "edited 7, dropped 8"},
		{"one dropped, and the one behind it edited", func(a []Record) []Record {
			a[6].Event = at(9).Event
			return slices.Delete(a, 5, 6)
		}, "dropped 6, edited 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := told(checked(t, w, tt.edit(slices.Clone(all)), h)); got != tt.want {
				t.Fatalf("it says %q, not %q", got, tt.want)
			}
		})
	}
}

// T2 as a property: whatever few things are done to a feed, it is found out, and what is said of
// a number is so.
func TestFaultsAreNamed(t *testing.T) {
	w, all, h := feed(t)
	rapid.Check(t, func(rt *rapid.T) {
		came := slices.Clone(all)
		for range rapid.IntRange(0, 4).Draw(rt, "faults") {
			i := rapid.IntRange(0, len(came)-1).Draw(rt, "at")
			r := came[i]
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				came = slices.Delete(came, i, i+1)
			case 1:
				came[i].Event = append(bytes.Clone(r.Event), 1)
			case 2:
				came = slices.Insert(came, rapid.IntRange(0, len(came)).Draw(rt, "again at"), r)
			case 3:
				came = slices.Delete(came, i, i+1)
				came = slices.Insert(came, rapid.IntRange(0, len(came)).Draw(rt, "to"), r)
			}
		}
		c := newCheck(t, w, Checkpoint{})
		for i := range came {
			c.Record(&came[i])
		}
		c.Head(&h)
		sound(rt, all, came, c.Report())
	})
}

// sound holds what is said of every record against what was done to it.
func sound(rt *rapid.T, all, came []Record, report Report) {
	said := map[FaultKind]map[uint64]bool{Dropped: {}, Edited: {}, Reordered: {}, Repeated: {}}
	for _, f := range report.Faults {
		for number := f.Number; number <= f.Last; number++ {
			said[f.Kind][number] = true
		}
	}
	edited := func(r *Record) bool { return !bytes.Equal(r.Event, all[r.Number-1].Event) }
	for number := uint64(1); number <= uint64(len(all)); number++ {
		times, changed, late, highest := 0, false, false, uint64(0)
		for i := range came {
			r := &came[i]
			if r.Number == number {
				times++
				changed = changed || edited(r)
				late = late || highest > number
			}
			if !edited(r) {
				highest = max(highest, r.Number)
			}
		}
		if said[Dropped][number] != (times == 0) || said[Edited][number] != changed ||
			said[Reordered][number] && !late || said[Repeated][number] && times < 2 ||
			times > 1 && !said[Repeated][number] && !changed {
			rt.Fatalf("record %d: %d times, late %t, edited %t; it says %s",
				number, times, late, changed, told(report))
		}
	}
	same := slices.EqualFunc(came, all, func(a, b Record) bool { return a.Number == b.Number && !edited(&a) })
	if same != (len(report.Faults) == 0) {
		rt.Fatalf("the same: %t, it says %q", same, told(report))
	}
}

// T2 for every byte: a saved line of which one byte was changed says the same or is found out.
func TestEveryByteOfALine(t *testing.T) {
	w, all, h := feed(t)
	lines := [][]byte{line(t, all[6]), line(t, h)}
	for n, good := range lines {
		for i := range good {
			if testing.Short() && i%7 != 0 {
				continue
			}
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 7)
			c := newCheck(t, w, Checkpoint{})
			for j := range all {
				if n == 0 && j == 6 {
					c.Line(bad)
				} else {
					c.Record(&all[j])
				}
			}
			if n == 1 {
				c.Line(bad)
			}
			c.Head(&h)
			if len(c.Report().Faults) > 0 {
				continue
			}
			var a, b any
			if decode(bad, &a) != nil || decode(good, &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Fatalf("byte %d of %q is %q", i, good[i], bad[i])
			}
		}
	}
}

// T3: a block that no quorum has signed proves nothing.
func TestNoQuorum(t *testing.T) {
	w, all, h := feed(t)
	r := all[22]
	p, err := chain.DecodeFinalityProof(r.Head.Finality)
	if err != nil {
		t.Fatal(err)
	}
	p.QC.Votes.Bitmap = []byte{3} // two of four
	r.Head.Finality = p.Encode()
	got := checked(t, w, append(slices.Clone(all[:22]), r), h)
	if told(got) != "unproved 23" || !errors.Is(got.Faults[0], cosi.ErrPolicy) {
		t.Fatalf("%s: %v", told(got), got.Faults)
	}
}

// A reader who kept his checkpoint goes on from it, and finds a feed that does not begin with what
// he has checked, be every record of it proved.
func TestCheckpoint(t *testing.T) {
	w, all, h := feed(t)
	first := newCheck(t, w, Checkpoint{})
	for i := range 11 {
		first.Record(&all[i])
	}
	kept := first.Report().Checkpoint
	if kept.Size != 11 {
		t.Fatalf("%+v", kept)
	}
	raw, err := kept.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if kept, err = DecodeCheckpoint(raw); err != nil {
		t.Fatal(err)
	}
	rest := func(after Checkpoint) Report {
		c := newCheck(t, w, after)
		for i := 11; i < len(all); i++ {
			c.Record(&all[i])
		}
		c.Head(&h)
		return c.Report()
	}
	if r := rest(kept); len(r.Faults) != 0 || r.Checkpoint.Root() != h.FeedRoot {
		t.Fatal(told(r))
	}
	for i := range kept.Peaks {
		wrong := Checkpoint{Size: kept.Size, Peaks: slices.Clone(kept.Peaks)}
		wrong.Peaks[i][5] ^= 1
		if r := rest(wrong); !strings.HasPrefix(told(r), "contradicted ") {
			t.Fatalf("peak %d: %s", i, told(r))
		}
	}
	for name, b := range map[string]string{
		"nothing": "", "too few peaks": `{"size":3,"peaks":[]}`, "another field": `{"size":0,"peaks":[],"x":1}`,
		"a peak too many": `{"size":0,"peaks":["` + strings.Repeat("0", 64) + `"]}`,
	} {
		if _, err := DecodeCheckpoint([]byte(b)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The checkpoint's root is that of RFC 6962 for every size.
func TestCheckpointRoots(t *testing.T) {
	var c Checkpoint
	var leaves []merkle.Hash
	for i := range 130 {
		if c.Root() != cypherlink.Hash(merkle.Root(leaves)) {
			t.Fatalf("the root of %d", i)
		}
		event := []byte{byte(i)}
		c, leaves = c.add(event), append(leaves, merkle.Leaf(event))
	}
}

// A committee of which too many are faulty may sign two feeds. Who sees both says so.
func TestContradiction(t *testing.T) {
	w, all, h := feed(t)
	sign := func(change func(*chain.Header)) Head {
		p, err := chain.DecodeFinalityProof(h.Finality)
		if err != nil {
			t.Fatal(err)
		}
		header := p.Headers[0]
		change(&header)
		qc := w.Certify(t, header)
		child := w.Block(qc, header.TimeMS+1, nil, header.Roots)
		return newHead(chain.FinalityProof{
			Headers: []chain.Header{header, child.Header}, QC: w.Certify(t, child.Header),
		})
	}
	for name, change := range map[string]func(*chain.Header){
		"another root": func(h *chain.Header) { h.Roots.Feed[0] ^= 1 },
		"a block of the same height": func(h *chain.Header) {
			h.TimeMS++
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheck(t, w, Checkpoint{})
			for i := range all {
				c.Record(&all[i])
			}
			c.Head(&h)
			other := sign(change)
			c.Head(&other)
			if r := c.Report(); told(r) != "contradicted 23" {
				t.Fatal(told(r))
			}
		})
	}
	t.Run("another root, before the records", func(t *testing.T) {
		c := newCheck(t, w, Checkpoint{})
		c.Head(&h)
		other := sign(func(h *chain.Header) {
			h.Height++
			h.View++
			h.Parent.Height++
			h.Parent.View++
			h.Proposer = w.Committee.Roster().Member(w.Committee.Leader(h.View)).ID
			h.Roots.Feed[0] ^= 1
		})
		c.Head(&other)
		if r := c.Report(); told(r) != "dropped 1-23, contradicted 23" {
			t.Fatal(told(r), r.Faults)
		}
	})
	t.Run("a shorter feed of a later block", func(t *testing.T) {
		c := newCheck(t, w, Checkpoint{})
		later := w.Block(w.qc, w.now()+5, nil, w.state.Header().Roots).Header
		later.Roots.FeedSize = 9
		qc := w.Certify(t, later)
		child := w.Block(qc, later.TimeMS+1, nil, later.Roots)
		shorter := newHead(chain.FinalityProof{
			Headers: []chain.Header{later, child.Header}, QC: w.Certify(t, child.Header),
		})
		for i := range all {
			c.Record(&all[i])
		}
		c.Head(&h)
		c.Head(&shorter)
		if r := c.Report(); told(r) != "contradicted 9" {
			t.Fatal(told(r))
		}
	})
}

// A feed with faults without end is not held in memory.
func TestFaultsAreBounded(t *testing.T) {
	w, all, h := feed(t)
	c := newCheck(t, w, Checkpoint{})
	for range 2 * MaxFaults {
		c.Record(&all[3])
		c.Head(&h)
	}
	if r := c.Report(); len(r.Faults) > MaxFaults || !r.Stopped {
		t.Fatalf("%d faults", len(r.Faults))
	}
	c = newCheck(t, w, Checkpoint{})
	for range 2 * MaxFaults {
		c.Line([]byte("no JSON"))
	}
	if r := c.Report(); len(r.Faults) > MaxFaults+1 || !r.Stopped {
		t.Fatalf("%d faults", len(r.Faults))
	}
}

// FuzzLine: whatever a line is, a check neither fails nor takes it for a record that is not there.
func FuzzLine(f *testing.F) {
	w, all, h := feed(f)
	f.Add(line(f, all[0]))
	f.Add(line(f, all[7]))
	f.Add(line(f, Page{Records: all[:2], Next: "/v1/events?after=2&limit=2"}))
	f.Add(line(f, h))
	for _, text := range []string{"", "null", "[]", `{"number":1}`, `{"records":null}`, `{"records":[{}]}`, "{", `{"number":1,"number":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCheck(t, w, Checkpoint{})
		c.Line(b)
		r := c.Report()
		if r.Checkpoint.Size > 0 && len(r.Faults) == 0 {
			if r.Checkpoint.Size > 23 || !bytes.Contains(b, []byte("finality")) {
				t.Fatalf("%q", b)
			}
		}
	})
}
