package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/validator/rules"
)

// networkCommand is about a local network as a whole.
type networkCommand struct {
	Create createCommand `cmd:"" help:"Create keys, genesis and configuration. What exists is kept."`
	Open   openCommand   `cmd:"" help:"Bring money over the ramp, open the banks' channel, and fund it, over REST."`
	Env    envCommand    `cmd:"" help:"Print addresses, certificate files, topics and pids, NAME=value."`
}

// createCommand creates the local network in a folder.
type createCommand struct {
	Dir string `arg:"" help:"Folder of the network." type:"path"`
}

const (
	genesisName = "genesis.json"
	configName  = "config.json"
	dataName    = "data"
	draftName   = "draft"
)

// Run creates keys, genesis and configuration, or says that they are there.
func (c *createCommand) Run(s *session) error {
	if _, err := os.Stat(filepath.Join(c.Dir, genesisName)); err == nil {
		fmt.Fprintf(s.out, "the network in %s is kept\n", c.Dir)
		return nil
	}
	if err := createNetwork(s, c.Dir); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "a network was made in %s\n", c.Dir)
	return nil
}

// builder is a network while it is made.
type builder struct {
	dir     string
	by      map[string]chain.Participant
	genesis *chain.Genesis
	ca      *authority
	address map[string]string // of the talk, by folder
	broker  string
	api     map[string]string // of the REST APIs and of the tap, by folder
	further []bank
}

// createNetwork makes everything below dir. genesis.json comes last: a folder that has it is
// whole. What an attempt that was broken off has left was never used, and is thrown away.
func createNetwork(ctx context.Context, dir string, further ...bank) error {
	draft := filepath.Join(dir, draftName)
	if err := os.RemoveAll(draft); err != nil {
		return err
	}
	if err := os.MkdirAll(draft, dirMode); err != nil {
		return err
	}
	if err := draftNetwork(ctx, draft, further); err != nil {
		return err
	}
	all, err := os.ReadDir(draft)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Name() == genesisName {
			continue
		}
		if err := os.Rename(filepath.Join(draft, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(draft, genesisName), filepath.Join(dir, genesisName)); err != nil {
		return err
	}
	return os.Remove(draft)
}

// draftNetwork makes everything in a folder that is empty. What refers to a file does so from where
// it lies itself, so the whole may be moved.
func draftNetwork(ctx context.Context, dir string, further []bank) error {
	de, _ := rules.DigitalEuro()
	dcep, _ := rules.DigitalYuan()
	setDE, err := rules.Compile(de)
	if err != nil {
		return err
	}
	setDCEP, err := rules.Compile(dcep)
	if err != nil {
		return err
	}
	file, by, err := draw(dir, ruleSets{setDE.Hash(), setDCEP.Hash()}, time.Now().UnixMilli(), further...)
	if err != nil {
		return err
	}
	raw, err := file.Encode()
	if err != nil {
		return err
	}
	b := &builder{dir: dir, by: by, address: map[string]string{}, api: map[string]string{}, further: further}
	if b.genesis, err = chain.ParseGenesis(raw); err != nil {
		return err
	}
	if b.ca, err = newAuthority(dir); err != nil {
		return err
	}
	if err := b.ca.issue(dir, "client"); err != nil {
		return err
	}
	if err := b.pickPorts(ctx); err != nil {
		return err
	}
	for folder, rules := range map[string][]byte{folderVoteDE: de, folderVoteDCEP: dcep} {
		if err := os.WriteFile(filepath.Join(dir, folder, "rules.json"), rules, fileMode); err != nil {
			return err
		}
	}
	if err := errors.Join(b.members(), b.validators(), b.ledger(), b.banks(), b.clearing(), b.tap(), b.authority()); err != nil {
		return err
	}
	if err := writePayments(dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, genesisName), raw, fileMode)
}

// writePayments writes pay.json and pay.xml, which can be posted to Bank A at once, and
// pay-channel.json, which can be posted to either bank once their channel is open.
func writePayments(dir string) error {
	message, err := sampleMessage(time.Now())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pay.xml"), message, fileMode); err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(dir, "pay-channel.json"), []byte(sampleChannelPayment), fileMode)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "pay.json"), []byte(samplePayment), fileMode)
}

// pickPorts finds a free port for everybody who listens.
func (b *builder) pickPorts(ctx context.Context) error {
	taken := map[string]bool{}
	pick := func() (string, error) {
		addr, err := peer.PickAddr(ctx, taken)
		taken[addr] = true
		return addr, err
	}
	var err error
	for _, a := range cast(b.further...) {
		if b.address[a.folder], err = pick(); err != nil {
			return err
		}
	}
	callable := []string{folderA, folderB, folderClearing, folderTap}
	for _, further := range b.further {
		callable = append(callable, further.folder)
	}
	for _, folder := range callable {
		if b.api[folder], err = pick(); err != nil {
			return err
		}
	}
	b.broker, err = pick()
	return err
}

// node is the common part of a configuration; it reaches the named others.
func (b *builder) node(folder string, peers ...string) node {
	n := node{
		Genesis: "../" + genesisName, Identity: "identity.key", Cosigning: "cosigning.key",
		TLSCert: "tls.pem", TLSKey: "tls.key", Data: dataName, Listen: b.address[folder],
		Peers: map[cypherlink.ParticipantID]string{},
	}
	for _, p := range peers {
		n.Peers[b.by[p].ID] = b.address[p]
	}
	return n
}

func (b *builder) write(folder string, c any) error {
	return writeConfig(filepath.Join(b.dir, folder, configName), c)
}

func committee() []string {
	var all []string
	for i := 1; i <= members; i++ {
		all = append(all, fmt.Sprint(folderMember, i))
	}
	return all
}

func (b *builder) members() error {
	for _, folder := range committee() {
		data := filepath.Join(b.dir, folder, dataName)
		if err := member.Create(data, b.genesis, slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
		if err := b.write(folder, memberConfig{b.node(folder, committee()...)}); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) validators() error {
	for folder, assets := range map[string][]cypherlink.Asset{
		folderVoteDE: {assetDE(), assetClaim()}, folderVoteDCEP: {assetDCEP()},
	} {
		c := validatorConfig{
			Node: b.node(folder, committee()...), RuleSet: "rules.json",
			Screening: []string{}, Valid: jsonDuration(sourceHold),
		}
		for _, a := range assets {
			c.Assets = append(c.Assets, assetName{a.Ledger, a.Code})
		}
		if err := b.write(folder, c); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) authority() error {
	n := b.node(folderAuthority, committee()...)
	n.Listen = "" // it only calls
	return b.write(folderAuthority, memberConfig{n})
}

const (
	topicCommands = "de.commands"
	topicEvents   = "de.events"
)

// tls issues a certificate and names its files for the configuration in the folder.
func (b *builder) tls(folder, name string) (tlsFiles, error) {
	f := tlsFiles{Cert: path(name + ".pem"), Key: path(name + ".key"), CA: "../ca.pem"}
	return f, b.ca.issue(filepath.Join(b.dir, folder), name)
}

func (b *builder) kafka(folder string) (kafkaConfig, error) {
	tls, err := b.tls(folder, "kafka")
	return kafkaConfig{Bootstrap: b.broker, TLS: tls, Commands: topicCommands, Events: topicEvents}, err
}

func (b *builder) ledger() error {
	kafka, err := b.kafka(folderLedger)
	if err != nil {
		return err
	}
	c := ledgerConfig{
		Node: b.node(folderLedger), Ledger: ledgerDE, Kafka: kafka, Embedded: true,
	}
	c.Node.Listen = ""
	for _, o := range openingsDE(b.by, b.further...) {
		c.Openings = append(c.Openings, openingConfig{
			Account: o.Account, Asset: assetName{o.Asset.Ledger, o.Asset.Code},
			Balance: o.Amount.Format(o.Asset.Scale),
		})
	}
	return b.write(folderLedger, c)
}

// institution is the common part of a bank's and the clearing bank's configuration.
func (b *builder) institution(folder string, peers ...string) (institutionConfig, error) {
	c := institutionConfig{
		Node: b.node(folder, append(committee(), peers...)...), Margins: localMargins(),
		API: apiConfig{Listen: b.api[folder]},
	}
	var err error
	if c.Kafka, err = b.kafka(folder); err != nil {
		return c, err
	}
	c.API.TLS, err = b.tls(folder, "api")
	return c, err
}

func (b *builder) banks() error {
	folders := []string{folderA, folderB}
	for _, further := range b.further {
		folders = append(folders, further.folder)
	}
	errs := []error{
		b.bank(folderA, "private.cl.de.cypadeff", assetDE(), customersA(), folders, assetClaim()),
		b.bank(folderB, "private.cl.cypherium.cypbcnbj", assetDCEP(), customersB(), folders,
			assetClaim(), assetDCEP()),
	}
	for _, further := range b.further {
		customers := []customerConfig{treasury()}
		errs = append(errs, b.bank(further.folder, further.address, assetDCEP(), customers, folders, assetClaim()))
	}
	return errors.Join(errs...)
}

// bank writes the configuration of a bank among others, with channels in those assets.
func (b *builder) bank(
	folder, address string, funding cypherlink.Asset, customers []customerConfig, banks []string,
	inChannels ...cypherlink.Asset,
) error {
	peers := []string{folderVoteDE, folderVoteDCEP, folderClearing}
	for _, other := range banks {
		if other != folder {
			peers = append(peers, other)
		}
	}
	common, err := b.institution(folder, peers...)
	if err != nil {
		return err
	}
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return err
	}
	name := filepath.Join(b.dir, folder, "ilp.secret")
	if err := os.WriteFile(name, cypherlink.AppendHex(nil, secret[:]), fileMode); err != nil {
		return err
	}
	de, dcep := assetDE(), assetDCEP()
	dearest := []priceConfig{{ // a twentieth above the clearing bank's
		From: assetName{de.Ledger, de.Code}, To: assetName{dcep.Ledger, dcep.Code}, Num: 19, Den: 10, Fee: "1.05",
	}, {
		From: assetName{dcep.Ledger, dcep.Code}, To: assetName{de.Ledger, de.Code}, Num: 19, Den: 40, Fee: "2.10",
	}}
	return b.write(folder, connectConfig{
		institutionConfig: common, Funding: assetName{funding.Ledger, funding.Code},
		Connector: b.by[folderClearing].ID, Address: address, Secret: "ilp.secret",
		Dearest: dearest, Customers: customers, Screening: []string{}, Channels: localChannels(len(banks)-1, inChannels...),
		Negotiate: jsonDuration(10 * time.Second), Approve: jsonDuration(5 * time.Second),
	})
}

func (b *builder) clearing() error {
	common, err := b.institution(folderClearing, folderA, folderB, folderVoteDE, folderVoteDCEP)
	if err != nil {
		return err
	}
	de, dcep := assetDE(), assetDCEP()
	return b.write(folderClearing, connectorConfig{
		institutionConfig: common,
		Prices: []priceConfig{{
			From: assetName{de.Ledger, de.Code}, To: assetName{dcep.Ledger, dcep.Code},
			Num: 2, Den: 1, Fee: "1.00",
		}, {
			From: assetName{dcep.Ledger, dcep.Code}, To: assetName{de.Ledger, de.Code},
			Num: 1, Den: 2, Fee: "2.00",
		}},
		Channels: localChannels(1, dcep, assetClaim()),
		Valid:    jsonDuration(time.Minute), Slack: jsonDuration(2 * time.Second),
	})
}
