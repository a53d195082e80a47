package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

func (b *bank) Channels(ctx context.Context) ([]*payment.Channel, error) {
	_, err := b.once(ctx, "", submitted{})
	return b.channels, err
}

func (b *bank) Channel(ctx context.Context, id channels.ID) (*payment.Channel, error) {
	_, err := b.once(ctx, "", submitted{})
	for _, c := range b.channels {
		if c.ID == id {
			return c, err
		}
	}
	return nil, cmp.Or[error](err, &cypherlink.Error{Code: payment.CodeNoChannel, Message: "no such channel"})
}

func (b *bank) Open(
	ctx context.Context, o payment.Opening, raw []byte, key string,
) (id channels.ID, replayed bool, err error) {
	replayed, err = b.once(ctx, "channel "+key, submitted{raw: raw, key: key, opening: o})
	return channels.ID{0x9f}, replayed, err
}

func (b *bank) Order(
	ctx context.Context, id channels.ID, o payment.Order, raw []byte, key string,
) (bool, error) {
	if _, err := b.Channel(ctx, id); err != nil {
		return false, err
	}
	replayed, err := b.once(ctx, "channel "+key, submitted{raw: raw, key: key})
	if err == nil && !replayed {
		b.orders = append(b.orders, o)
	}
	return replayed, err
}

// aChannel is one of two banks of the genesis in DE, numbered.
func aChannel(t *testing.T, own channels.Side, n byte) *payment.Channel {
	t.Helper()
	g := genesis(t).File()
	c := &payment.Channel{Own: own, Free: 123456, Synced: true, Now: channels.Time{S: 1764000000, Height: 77}}
	c.ID, c.Asset, c.State, c.Limits = channels.ID{n}, de(), channels.Opened, channels.DefaultLimits()
	c.Banks = channels.InOrder([2]cypherlink.ParticipantID{
		g.Participants[chaintest.Members].ID, g.Participants[chaintest.Members+1].ID,
	})
	c.Funds = [2]int64{300000, -50000}
	c.Channel.Lanes[channels.A].Head = channels.Head{Seq: 40, Paid: 90000}
	c.Channel.Lanes[channels.B].Head = channels.Head{Seq: 7, Paid: 10000, Locked: 1000}
	c.Lanes[channels.A] = payment.LaneView{Gen: 1, Written: 42, Certified: 41, Bound: 41, Anchored: 40}
	c.Lanes[channels.B] = payment.LaneView{Gen: 2, Written: 9, Certified: 8, Bound: 7, Anchored: 7, Suspended: true}
	return c
}

func decode[T any](t *testing.T, body []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}

func post(path, key, body string) call {
	return call{http.MethodPost, path, body, []string{"Content-Type", jsonType, keyName, key}}
}

func TestChannelAsEachOfItsBanksSeesIt(t *testing.T) {
	const (
		a = `{"generation":1,"written":42,"certified":41,"bound":41,"anchored":40,"suspended":false}`
		b = `{"generation":2,"written":9,"certified":8,"bound":7,"anchored":7,"suspended":true}`
		// 3000.00 + 100.00 - 900.00, and -500.00 + 900.00 - 100.00 - 10.00
		balanceA, balanceB = "2200.00", "290.00"
	)
	for _, own := range []channels.Side{channels.A, channels.B} {
		t.Run(own.String(), func(t *testing.T) {
			d, c := newDirect(t), aChannel(t, own, 1)
			c.Alerts = []string{"the liquidity is low"}
			d.bank.channels = []*payment.Channel{c}
			peer, ok := genesis(t).Participant(c.Banks[own.Other()])
			if !ok {
				t.Fatal("the peer is not in genesis")
			}
			mine, theirs := []string{balanceA, "3000.00", "40", a}, []string{balanceB, "-500.00", "7", b}
			if own == channels.B {
				mine, theirs = theirs, mine
			}
			want := fmt.Sprintf(`{"id":"%s","asset":"DE","peer":"%s","state":"OPEN",`+
				`"balances":{"own":"%s","peer":"%s"},"escrow":{"own":"%s","peer":"%s"},"free":"1234.56",`+
				`"anchored_seq":{"own":%s,"peer":%s},"lanes":{"own":%s,"peer":%s},"synced":true,`+
				`"alerts":["the liquidity is low"],"limits":{"window_seconds":30,"window_blocks":10,`+
				`"uncertified":256,"locks":64,"locked":"11258999068426.24","reserve":"0.00",`+
				`"lock_min_seconds":10,"lock_max_seconds":86400},"height":77,"time":"2025-11-24T16:00:00Z"}`,
				c.ID, peer.BIC, mine[0], theirs[0], mine[1], theirs[1], mine[2], theirs[2], mine[3], theirs[3])
			if got := d.do(get(channelsPath + "/" + c.ID.String())); got.StatusCode != http.StatusOK || string(got.body) != want {
				t.Fatalf("%d\n%s\n%s", got.StatusCode, got.body, want)
			}
		})
	}
}

func TestStateOfAChannel(t *testing.T) {
	d, c := newDirect(t), aChannel(t, channels.A, 1)
	d.bank.channels = []*payment.Channel{c}
	for state, want := range map[channels.State]string{
		0: "OPENING", channels.Opened: "OPEN", channels.Closing: "CLOSING", channels.Frozen: "FROZEN",
		channels.Closed: "CLOSED",
	} {
		c.State = state
		a := d.do(get(channelsPath + "/" + c.ID.String()))
		if !strings.Contains(string(a.body), `"state":"`+want+`"`) || !strings.Contains(string(a.body), `"alerts":[]`) {
			t.Errorf("%s: %s", want, a.body)
		}
		enum := document(t).Components.Schemas.Map()["Channel"].Properties["state"].Enum
		if !slices.Contains(enum, any(want)) {
			t.Errorf("%s is not in the document", want)
		}
	}
}

func TestUnknownChannel(t *testing.T) {
	d := newDirect(t)
	d.bank.channels = []*payment.Channel{aChannel(t, channels.A, 1)}
	for _, id := range []string{strings.Repeat("0", 64), "x", strings.ToUpper(channels.ID{0xaa}.String())} {
		for _, c := range []call{
			get(channelsPath + "/" + id),
			post(channelsPath+"/"+id+"/fund", "k", `{"amount":"1"}`),
			post(channelsPath+"/"+id+"/release", "k", `{"amount":"1"}`),
			post(channelsPath+"/"+id+"/close", "k", ""),
		} {
			if p := d.do(c).problem(t); p.Code != payment.CodeNoChannel || p.Status != 404 {
				t.Errorf("%s: %+v", c.path, p)
			}
		}
	}
}

func TestChannelsInPages(t *testing.T) {
	d := newDirect(t)
	for n := range 7 {
		d.bank.channels = append(d.bank.channels, aChannel(t, channels.A, byte(n)))
	}
	type page struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
		Next string `json:"next"`
	}
	var got []string
	next, pages := channelsPath+"?limit=3", 0
	for ; next != "" && pages < 9; pages++ {
		a := d.do(get(next))
		p := decode[page](t, a.body)
		for _, item := range p.Items {
			got = append(got, item.ID)
		}
		next = p.Next
	}
	var want []string
	for _, c := range d.bank.channels {
		want = append(want, c.ID.String())
	}
	if pages != 3 || !slices.Equal(got, want) {
		t.Fatalf("%d pages: %q", pages, got)
	}
	if p := decode[page](t, d.do(get(channelsPath)).body); len(p.Items) != 7 || p.Next != "" {
		t.Fatalf("%+v", p)
	}
	d.bank.channels = nil
	if a := d.do(get(channelsPath)); string(a.body) != `{"items":[]}` {
		t.Fatalf("%s", a.body)
	}
	for _, query := range []string{"?cursor=AAAAAAAAADI", "?limit=0", "?limit=201"} {
		if p := d.do(get(channelsPath + query)).problem(t); p.Code != CodeParameter {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestOpenAChannel(t *testing.T) {
	w := newWorld(t)
	peer := genesis(t).File().Participants[chaintest.Members+1]
	body := fmt.Sprintf(`{"peer":"%s","asset":"DE"}`, peer.BIC)
	for _, replayed := range []string{"", "true"} {
		a := w.do(post(channelsPath, "k", body))
		id := channels.ID{0x9f}.String()
		want := fmt.Sprintf(`{"id":"%s","peer":"%s","asset":"DE"}`, id, peer.BIC)
		if a.StatusCode != http.StatusAccepted || string(a.body) != want ||
			a.Header.Get("Location") != channelsPath+"/"+id || a.Header.Get("Idempotency-Replayed") != replayed {
			t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
		}
	}
	if now := w.bank.last; string(now.raw) != body || now.key != spki(w.client).String()+"/k" ||
		now.opening != (payment.Opening{Peer: peer.ID, Asset: de()}) {
		t.Fatalf("the port got %+v", now)
	}
	for _, tt := range []struct {
		name, body string
		code       cypherlink.Code
		pointer    string
		reason     string
	}{
		{"no peer", `{"asset":"DE"}`, CodeInvalid, "/peer", "RC01"},
		{"no asset", fmt.Sprintf(`{"peer":"%s"}`, peer.BIC), CodeInvalid, "/asset", "AM11"},
		{"a peer that is no BIC", `{"peer":"BANK","asset":"DE"}`, CodeInvalid, "/peer", "RC01"},
		{"a bank that is not in the network", `{"peer":"CYPZDEFFXXX","asset":"DE"}`, payment.CodeAgent, "/peer", "RC01"},
		{"an asset that is not", fmt.Sprintf(`{"peer":"%s","asset":"XX"}`, peer.BIC), payment.CodeAsset, "/asset", "AM03"},
		{"an amount", strings.Replace(body, "}", `,"amount":"1"}`, 1), CodeInvalid, "/amount", ""},
		{"another body under the key", strings.Replace(body, `"DE"`, `"DC/EP.C"`, 1), payment.CodeKeyReused, "", "DU01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := w.do(post(channelsPath, "k", tt.body)).problem(t)
			if p.Code != tt.code || p.Status != 422 || p.ISOReason != tt.reason ||
				tt.pointer != "" && p.Violations[0].Pointer != tt.pointer {
				t.Fatalf("%+v", p)
			}
		})
	}
	if p := w.do(call{http.MethodPost, channelsPath, body, []string{"Content-Type", jsonType}}).problem(t); p.Code != CodeKeyMissing {
		t.Fatalf("%+v", p)
	}
}

// TestOrders: what a key stands for is the verb, the channel and the body.
func TestOrders(t *testing.T) {
	d := newDirect(t)
	first, second := aChannel(t, channels.A, 1), aChannel(t, channels.A, 2)
	d.bank.channels = []*payment.Channel{first, second}
	at := func(c *payment.Channel, verb string) string { return channelsPath + "/" + c.ID.String() + "/" + verb }
	const amount = `{"amount":"1000.00"}`
	for _, tt := range []struct {
		name, path, key, body string
		status                int
		replayed              string
		code                  cypherlink.Code
	}{
		{"fund", at(first, "fund"), "f", amount, 202, "", ""},
		{"the same again", at(first, "fund"), "f", amount, 202, "true", ""},
		{"another amount under the key", at(first, "fund"), "f", `{"amount":"1000.01"}`, 422, "", payment.CodeKeyReused},
		{"another verb under the key", at(first, "release"), "f", amount, 422, "", payment.CodeKeyReused},
		{"a close under the key", at(first, "close"), "f", "", 422, "", payment.CodeKeyReused},
		{"another channel under the key", at(second, "fund"), "f", amount, 422, "", payment.CodeKeyReused},
		{"release", at(first, "release"), "r", `{"amount":"0.5"}`, 202, "", ""},
		{"close", at(second, "close"), "c", "", 202, "", ""},
		{"close again", at(second, "close"), "c", "", 202, "true", ""},
		{"nothing", at(first, "fund"), "n", `{"amount":"0.00"}`, 422, "", iso20022.CodeAmount},
		{"three digits after the point", at(first, "fund"), "n", `{"amount":"1.001"}`, 422, "", iso20022.CodeAmount},
		{"a number", at(first, "release"), "n", `{"amount":1}`, 422, "", CodeInvalid},
		{"a sign", at(first, "release"), "n", `{"amount":"-1"}`, 422, "", CodeInvalid},
		{"no amount", at(first, "fund"), "n", `{}`, 422, "", CodeInvalid},
		{"no key", at(first, "close"), "", "", 400, "", CodeKeyInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := d.do(post(tt.path, tt.key, tt.body))
			if a.StatusCode != tt.status || a.Header.Get("Idempotency-Replayed") != tt.replayed {
				t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
			}
			if tt.code == "" {
				if !strings.Contains(tt.path, decode[struct {
					ID string `json:"id"`
				}](t, a.body).ID) {
					t.Fatalf("%s", a.body)
				}
				return
			}
			if p := a.problem(t); p.Code != tt.code {
				t.Fatalf("%+v", p)
			}
		})
	}
	want := []payment.Order{
		payment.FundOrder{Amount: 100000}, payment.ReleaseOrder{Amount: 50}, payment.CloseOrder{},
	}
	if !slices.Equal(d.bank.orders, want) {
		t.Fatalf("%v", d.bank.orders)
	}
}

func TestARefusalByARuleOfChannelsIsTold(t *testing.T) {
	d, c := newDirect(t), aChannel(t, channels.A, 1)
	d.bank.channels = []*payment.Channel{c}
	d.bank.err = &cypherlink.Error{Code: channels.L8.Code(), Reason: "AM04", Message: "L8: not so much"}
	p := d.do(post(channelsPath+"/"+c.ID.String()+"/release", "k", `{"amount":"1"}`)).problem(t)
	if p.Code != "channel_l8" || p.Status != 422 || p.ISOReason != "AM04" || p.Detail != "L8: not so much" {
		t.Fatalf("%+v", p)
	}
}

// What payment.Tellers refuses an order with is in the document, and nothing that it refuses no order with.
func TestRefusalsOfOrdersAreDocumented(t *testing.T) {
	rules := []channels.Rule{channels.T0, channels.T1, channels.T5, channels.T6, channels.L8, channels.L9, channels.L10}
	for _, op := range operations(document(t)) {
		want, ok := map[string][]channels.Rule{
			"fund-channel":    {channels.T0, channels.T1},
			"release-channel": {channels.T0, channels.T5, channels.L8, channels.L9, channels.L10},
			"close-channel":   {channels.T0, channels.T6, channels.L9, channels.L10},
		}[op.OperationID]
		if !ok {
			continue
		}
		told := op.Responses["422"].Description
		for _, rule := range rules {
			if strings.Contains(told+",", string(rule.Code())+",") != slices.Contains(want, rule) {
				t.Errorf("%s, %s: %s", op.OperationID, rule, told)
			}
		}
		if strings.Contains(told, string(ledger.CodeFunds)) {
			t.Errorf("%s: %s", op.OperationID, told)
		}
	}
}
