package chain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// genesisFormat is the first field of every genesis file.
const genesisFormat = "cypherlink-genesis-v1"

// The JSON form: fields in this order, two spaces a level, one line feed at the end, amounts
// as decimals, bytes in lower-case hexadecimal. A file in any other form is refused, so a
// network has one file.
type (
	genesisJSON struct {
		Format       string            `json:"format"`
		Scheme       string            `json:"scheme"`
		TimeMS       int64             `json:"time_ms"`
		KeyBlock     keyBlockJSON      `json:"key_block"`
		Authorities  authoritiesJSON   `json:"authorities"`
		Participants []participantJSON `json:"participants"`
		Ledgers      []ledgerJSON      `json:"ledgers"`
		Assets       []assetJSON       `json:"assets"`
		Openings     []openingJSON     `json:"openings"`
	}
	keyBlockJSON struct {
		Depth          uint8                      `json:"depth"`
		TermViews      uint16                     `json:"term_views"`
		Topology       string                     `json:"topology"`
		Leaders        string                     `json:"leaders"`
		IdleMS         uint32                     `json:"idle_ms"`
		MaxBaseMS      uint32                     `json:"max_base_ms"`
		MinExpiryS     uint32                     `json:"min_expiry_s"`
		CommitteeBlock cypherlink.Hash            `json:"committee_block"`
		Members        []cypherlink.ParticipantID `json:"members"`
	}
	authoritiesJSON struct {
		Threshold int `json:"threshold"`
	}
	participantJSON struct {
		ID         cypherlink.ParticipantID `json:"id"`
		Name       string                   `json:"name"`
		Role       Role                     `json:"role"`
		BIC        cypherlink.BIC           `json:"bic,omitzero"`
		Identity   cypherlink.Hash          `json:"identity_key"`
		Key        hexBytes                 `json:"cosigning_key"`
		Possession hexBytes                 `json:"possession"`
		TLS        cypherlink.Hash          `json:"tls_key_hash"`
	}
	ledgerJSON struct {
		ID         cypherlink.LedgerID      `json:"id"`
		Kind       LedgerKind               `json:"kind"`
		Operator   cypherlink.ParticipantID `json:"operator,omitzero"`
		MinExpiryS uint32                   `json:"min_expiry_s,omitzero"`
	}
	assetJSON struct {
		Ledger cypherlink.LedgerID      `json:"ledger"`
		Code   string                   `json:"code"`
		Scale  uint8                    `json:"scale"`
		Label  string                   `json:"label"`
		Issuer cypherlink.ParticipantID `json:"issuer"`
		Policy policyJSON               `json:"policy"`
		// Backing has the scale of the asset itself.
		Backing symbolJSON `json:"backing,omitzero"`
	}
	symbolJSON struct {
		Ledger cypherlink.LedgerID `json:"ledger"`
		Code   string              `json:"code"`
	}
	policyJSON struct {
		Threshold  int                        `json:"threshold"`
		Validators []cypherlink.ParticipantID `json:"validators"`
		RuleSet    cypherlink.Hash            `json:"rule_set"`
	}
	openingJSON struct {
		Account cypherlink.Account  `json:"account"`
		Ledger  cypherlink.LedgerID `json:"ledger"`
		Code    string              `json:"code"`
		Balance string              `json:"balance"`
	}
)

// hexBytes is a byte string in lower-case hexadecimal.
type hexBytes []byte

// MarshalText is the lower-case hexadecimal form.
func (b hexBytes) MarshalText() ([]byte, error) { return cypherlink.AppendHex(nil, b), nil }

// UnmarshalText takes exactly the form of MarshalText; otherwise cypherlink.ErrHex.
func (b *hexBytes) UnmarshalText(text []byte) error {
	*b = make([]byte, len(text)/2)
	return cypherlink.DecodeHex(*b, text)
}

// Encode is the file's one form. A network is what ParseGenesis makes of it.
func (f *GenesisFile) Encode() ([]byte, error) {
	topology, ok := topologyName(f.KeyBlock.Topology)
	leaders, known := leadersName(f.KeyBlock.Leaders)
	if !ok || !known {
		return nil, fmt.Errorf("topology %d, leaders %d: %w",
			f.KeyBlock.Topology, f.KeyBlock.Leaders, ErrGenesis)
	}
	j := genesisJSON{
		Format: genesisFormat, Scheme: f.Scheme, TimeMS: f.TimeMS,
		KeyBlock: keyBlockJSON{
			Depth: f.KeyBlock.Depth, TermViews: f.KeyBlock.TermViews, Topology: topology, Leaders: leaders,
			IdleMS: f.KeyBlock.IdleMS, MaxBaseMS: f.KeyBlock.MaxBaseMS, MinExpiryS: f.KeyBlock.MinExpiryS,
			CommitteeBlock: f.KeyBlock.CommitteeBlock, Members: []cypherlink.ParticipantID{},
		},
		Authorities:  authoritiesJSON(f.Authorities),
		Participants: []participantJSON{}, Ledgers: []ledgerJSON{},
		Assets: []assetJSON{}, Openings: []openingJSON{},
	}
	for _, m := range f.KeyBlock.Members {
		j.KeyBlock.Members = append(j.KeyBlock.Members, m.ID)
	}
	for _, p := range f.Participants {
		key := p.Key.Bytes()
		j.Participants = append(j.Participants, participantJSON{
			p.ID, p.Name, p.Role, p.BIC, p.Identity, key[:], p.Possession[:], p.TLS,
		})
	}
	for _, l := range f.Ledgers {
		j.Ledgers = append(j.Ledgers, ledgerJSON(l))
	}
	for _, a := range f.Assets {
		validators := append([]cypherlink.ParticipantID{}, a.Policy.Validators...)
		j.Assets = append(j.Assets, assetJSON{
			a.Asset.Ledger, a.Asset.Code, a.Asset.Scale, a.Label, a.Issuer,
			policyJSON{a.Policy.Threshold, validators, a.Policy.RuleSet},
			symbolJSON{a.Backing.Ledger, a.Backing.Code},
		})
	}
	for _, o := range f.Openings {
		j.Openings = append(j.Openings, openingJSON{
			o.Account, o.Asset.Ledger, o.Asset.Code, o.Amount.Format(o.Asset.Scale),
		})
	}
	return j.encode()
}

func (j *genesisJSON) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	return b.Bytes(), nil
}

// decodeGenesis reads exactly what Encode writes. The re-encoding finds what encoding/json
// lets pass: unknown and duplicate keys, other case, other order, other spaces.
func decodeGenesis(raw []byte) (GenesisFile, error) {
	var j genesisJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return GenesisFile{}, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	f, err := j.file()
	if err != nil {
		return GenesisFile{}, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	again, err := f.Encode()
	if err != nil {
		return GenesisFile{}, err
	}
	if at := differ(again, raw); at >= 0 {
		return GenesisFile{}, fmt.Errorf("byte %d is not in the one form: %w", at, ErrGenesis)
	}
	return f, nil
}

// differ is the first place in which a and b differ, or -1.
func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

func (j *genesisJSON) file() (GenesisFile, error) {
	f := GenesisFile{Scheme: j.Scheme, TimeMS: j.TimeMS, Authorities: Authorities(j.Authorities)}
	if j.Format != genesisFormat {
		return f, fmt.Errorf("format %.40q, not %s", j.Format, genesisFormat)
	}
	for i, p := range j.Participants {
		q, err := p.participant()
		if err != nil {
			return f, fmt.Errorf("participant %d: %w", i, err)
		}
		f.Participants = append(f.Participants, q)
	}
	for _, l := range j.Ledgers {
		f.Ledgers = append(f.Ledgers, Ledger(l))
	}
	for _, a := range j.Assets {
		f.Assets = append(f.Assets, a.asset())
	}
	for i, o := range j.Openings {
		opening, err := o.opening(f.Assets)
		if err != nil {
			return f, fmt.Errorf("opening %d: %w", i, err)
		}
		f.Openings = append(f.Openings, opening)
	}
	key, err := j.KeyBlock.keyBlock(f.Participants)
	if err != nil {
		return f, fmt.Errorf("key block: %w", err)
	}
	f.KeyBlock = key
	return f, nil
}

func (p *participantJSON) participant() (Participant, error) {
	key, err := cosi.ParsePublicKey(p.Key)
	if err != nil {
		return Participant{}, err
	}
	if len(p.Possession) != cosi.SignatureSize {
		return Participant{}, fmt.Errorf("proof of %d bytes: %w", len(p.Possession), cosi.ErrPossession)
	}
	return Participant{
		ID: p.ID, Name: p.Name, Role: p.Role, BIC: p.BIC, KeySet: KeySet{
			Identity: p.Identity, Key: key, Possession: cosi.Possession(p.Possession), TLS: p.TLS,
		},
	}, nil
}

func (a *assetJSON) asset() Asset {
	asset := Asset{
		Asset: cypherlink.Asset{Ledger: a.Ledger, Code: a.Code, Scale: a.Scale},
		Label: a.Label, Issuer: a.Issuer,
		Policy: validator.Policy{
			Threshold: a.Policy.Threshold, Validators: a.Policy.Validators, RuleSet: a.Policy.RuleSet,
		},
	}
	if a.Backing != (symbolJSON{}) {
		asset.Backing = cypherlink.Asset{Ledger: a.Backing.Ledger, Code: a.Backing.Code, Scale: a.Scale}
	}
	return asset
}

// opening finds the asset that the account is in, whose scale the balance has.
func (o *openingJSON) opening(assets []Asset) (ledger.Balance, error) {
	for _, a := range assets {
		if a.Asset.Ledger != o.Ledger || a.Asset.Code != o.Code {
			continue
		}
		balance, err := cypherlink.ParseAmount(o.Balance, a.Asset.Scale)
		if err != nil {
			return ledger.Balance{}, err
		}
		return ledger.Balance{Account: o.Account, Asset: a.Asset, Amount: balance}, nil
	}
	return ledger.Balance{}, fmt.Errorf("no asset %.20q on ledger %.20q", o.Code, string(o.Ledger))
}

// keyBlock puts the first key block together: what it holds of its members, the registry has.
func (k *keyBlockJSON) keyBlock(participants []Participant) (KeyBlock, error) {
	topology, leaders, err := parseNames(k.Topology, k.Leaders)
	if err != nil {
		return KeyBlock{}, err
	}
	b := KeyBlock{
		Epoch: 1, Depth: k.Depth, TermViews: k.TermViews, Topology: topology, Leaders: leaders,
		IdleMS: k.IdleMS, MaxBaseMS: k.MaxBaseMS, MinExpiryS: k.MinExpiryS, CommitteeBlock: k.CommitteeBlock,
	}
	var roster []cosi.Member
	for _, id := range k.Members {
		at := slices.IndexFunc(participants, func(p Participant) bool { return p.ID == id })
		if at < 0 {
			return KeyBlock{}, fmt.Errorf("member %s is not registered", id)
		}
		p := participants[at]
		roster = append(roster, cosi.Member{ID: id, Key: p.Key})
		b.Members = append(b.Members, Member{
			ID: id, Key: p.Key, Possession: p.Possession, Identity: p.Identity, TLS: p.TLS,
		})
	}
	all, err := cosi.NewRoster(roster, cosi.All())
	if err != nil {
		return KeyBlock{}, err
	}
	b.Sum = all.Sum()
	return b, nil
}

func topologyName(t Topology) (string, bool) {
	switch t {
	case Mesh:
		return "mesh", true
	case Star:
		return "star", true
	case Tree:
		return "tree", true
	}
	return "", false
}

func leadersName(p LeaderPolicy) (string, bool) {
	if p == RoundRobin {
		return "round-robin", true
	}
	return "", false
}

func parseNames(topology, leaders string) (Topology, LeaderPolicy, error) {
	for _, t := range []Topology{Mesh, Star, Tree} {
		name, _ := topologyName(t)
		if policy, ok := leadersName(RoundRobin); ok && name == topology && policy == leaders {
			return t, RoundRobin, nil
		}
	}
	return 0, 0, fmt.Errorf("topology %.20q, leaders %.20q", topology, leaders)
}
