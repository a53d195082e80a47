package tidy_test

// ranks is the import table: a package imports packages of lower ranks only, never one of its
// own rank. A package that is missing here fails the test: adding one is a decision, recorded
// in docs/adr where it departs from the design.
func ranks() [][]string {
	return [][]string{
		{"internal/wire", "internal/merkle", "internal/vectors", "internal/hold"},
		{"."},
		{"migrations"},
		{"internal/store", "internal/peer"},
		{"internal/store/storetest"},
		{"cosi"},
		{"cosi/sign", "ilp", "iso20022", "kyc"},
		{"terms"},
		{"validator"},
		{"validator/rules"},
		{"ledger"},
		{"ledger/book", "ledger/ledgertest"},
		{"channels"},
		{"chain"},
		{"chain/chaintest"},
		{"chain/state", "chain/bft"},
		{"chain/follow"},
		{"chain/follow/followtest"},
		{"chain/member", "chain/submit"},
		{"connector"},
		{"payment"},
		{"payment/books"},
		{"ledger-adapters/chainledger", "ledger-adapters/kafkaledger", "ledger-adapters/laneledger", "tap", "api"},
		{"internal/sim"},
		{"cmd/cypherlink", "cmd/cypherlink-tap", "internal/tidy"},
	}
}

// banned names imports that the ranks would allow, with the reason.
func banned() map[string]map[string]string {
	noKeys := "it asks for signatures through a port and never holds a key"
	noState := "consensus does not know what it orders"
	return map[string]map[string]string{
		"terms":        {"cosi/sign": noKeys},
		"validator":    {"cosi/sign": noKeys},
		"ledger":       {"cosi/sign": noKeys, "validator/rules": "a ledger checks verdicts, it makes none"},
		"channels":     {"cosi/sign": noKeys, "validator/rules": "a Validator's shell evaluates, a lane does not"},
		"chain":        {"cosi/sign": noKeys},
		"chain/state":  {"cosi/sign": noKeys},
		"chain/follow": {"cosi/sign": noKeys, "chain/bft": "a follower takes no part in consensus"},
		"chain/bft":    {"ledger": noState, "terms": noState, "validator": noState},
	}
}

// shells are the files that may own goroutines, clocks, files and sockets. A name that ends
// in a slash stands for a whole folder without a pure core.
func shells() []string {
	return []string{
		"internal/store/", "internal/peer/", "internal/vectors/", "internal/hold/", "migrations/", "cmd/",
		"api/", "ledger-adapters/", "ledger/book/", "ledger/ledgertest/", "chain/member/", "chain/submit/",
		"internal/tidy/",
		"connector/engine.go", "connector/enginelog.go", "connector/ramp.go",
		"payment/clearing.go", "payment/complaints.go", "payment/connect.go", "payment/drive.go", "payment/endorser.go", "payment/perform.go",
		"payment/poll.go", "payment/serve.go", "payment/storage.go", "payment/submit.go",
		"payment/table.go", "payment/witness.go", "payment/booking.go", "payment/channels.go", "payment/tellers.go", "payment/earmark.go",
		"payment/opening.go", "payment/order.go", "payment/rebalance.go", "payment/release.go", "payment/teller.go", "payment/tellerchain.go",
		"payment/tellerdraft.go", "payment/tellerlock.go", "payment/tellertalk.go", "payment/tellerturn.go",
		"payment/books/", "payment/lanereceipt.go", "payment/locks.go", "payment/lockstore.go",
		"chain/chaintest/", "chain/follow/followtest/", "cosi/remember.go", "cosi/sign/keyfile.go", "chain/state/pebble.go", "chain/state/memory.go",
		"chain/state/admission.go",
		"chain/follow/entry.go", "chain/follow/follower.go", "chain/follow/member.go",
		"chain/bft/slots.go",
		"tap/config.go", "tap/gate.go", "tap/handle.go", "tap/problem.go", "tap/query.go", "tap/serve.go",
		"tap/stream.go",
		"ledger/ledger.go", // the published contract, whose calls take a context
	}
}

// shellOnly are the packages that only a shell file may import.
func shellOnly() []string { return []string{"internal/store", "internal/peer", "cosi/sign"} }

// onlyFrom are the packages that one place alone may import.
func onlyFrom() map[string]string { return map[string]string{"validator/rules": "cmd/"} }

// absent are the packages that a binary must not link, with the reason, by the whole closure of
// its imports. A name that ends in a slash stands for everything below it.
func absent() map[string]map[string]string {
	signs, submits := "it can sign", "it can submit"
	return map[string]map[string]string{
		"cmd/cypherlink-tap": {
			module + "/cosi/sign": signs, "github.com/cloudflare/circl/": signs,
			module + "/chain/submit": submits, module + "/chain/member": submits,
			module + "/ledger-adapters/": submits, module + "/connector": submits, module + "/payment": submits,
			module + "/api":             submits,
			module + "/chain/bft":       "it takes part in consensus",
			module + "/validator/rules": "it judges", "cel.dev/": "it judges", "github.com/google/cel-go/": "it judges",
			module + "/internal/store": "it writes SQL", "database/sql": "it writes SQL",
			"github.com/segmentio/kafka-go": "it writes to a broker", "github.com/twmb/franz-go/": "it writes to a broker",
		},
	}
}
