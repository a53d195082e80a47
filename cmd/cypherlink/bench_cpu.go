package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// Where the CPU goes, from a profile of this process: each sample belongs to the first of the components
// of which a function is on its stack, from the innermost outwards. So a copy belongs to whoever copies,
// and a hash to the signature that is made of it.

// component is a part of the work, and the beginnings of its functions' names.
type component struct {
	name  string
	owns  []string
	whole bool // it owns a sample wherever on the stack it is
}

// The components, and the prefix of this module.
func components() []component {
	const us = "github.com/cypherlink/cypherlink/"
	return []component{
		{"garbage collection", []string{
			"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge",
			"runtime.gcStart", "runtime.gcMarkDone", "runtime.gcMarkTermination",
		}, true},
		{"BLS", []string{"github.com/consensys/gnark-crypto", "github.com/cloudflare/circl"}, false},
		{"Ed25519", []string{
			"github.com/oasisprotocol/curve25519-voi", "crypto/ed25519", "crypto/internal/fips140/ed25519",
			"crypto/internal/fips140/edwards25519",
		}, false},
		{"SQL", []string{"modernc.org/", "database/sql", us + "internal/store", "github.com/pressly/goose"}, false},
		{"TLS and calls", []string{"crypto/tls", us + "internal/peer", "vendor/golang.org/x/crypto/chacha"}, false},
		{"REST: HTTP and JSON", []string{
			"net/http", "vendor/golang.org/x/net/http", "encoding/json", "github.com/go-json-experiment",
			"github.com/danielgtaylor/huma", "github.com/go-chi", us + "api", "main.(*restBank)",
		}, false},
		{"chain: consensus, execution, followers", []string{
			us + "chain", us + "ledger", us + "cosi", "github.com/cockroachdb/",
		}, false},
		{"rules of the Validator", []string{us + "validator", us + "kyc", "cel.dev/", "github.com/google/cel-go"}, false},
		{"channels", []string{us + "channels"}, false},
		{"books", []string{us + "payment/books"}, false},
		{"payments", []string{us + "payment", us + "terms", us + "connector"}, false},
		{"Kafka", []string{"github.com/segmentio/kafka-go", "github.com/twmb/franz-go"}, false},
	}
}

const componentRest = "the rest: scheduler, timers"

// cpuShare is how long a component had a CPU.
type cpuShare struct {
	component string
	took      time.Duration
}

// profiled does something and says where its CPU time went, the most first. It keeps the profile in a
// file, if one is named.
func profiled(file string, do func() error) ([]cpuShare, error) {
	var raw bytes.Buffer
	if err := pprof.StartCPUProfile(&raw); err != nil {
		return nil, err
	}
	err := do()
	pprof.StopCPUProfile()
	if err != nil {
		return nil, err
	}
	if file != "" {
		if err := os.WriteFile(file, raw.Bytes(), fileMode); err != nil {
			return nil, err
		}
	}
	p, err := readProfile(&raw)
	if err != nil {
		return nil, err
	}
	all, by := components(), map[string]time.Duration{}
	for i := range p.samples {
		by[p.component(all, p.samples[i].stack)] += p.samples[i].cpu
	}
	var shares []cpuShare
	for name, took := range by {
		shares = append(shares, cpuShare{name, took})
	}
	slices.SortFunc(shares, func(a, b cpuShare) int {
		if a.took != b.took {
			return int(b.took - a.took)
		}
		return strings.Compare(a.component, b.component)
	})
	return shares, nil
}

// component is the name of the one that owns a stack.
func (p *profile) component(all []component, stack []uint64) string {
	owner := componentRest
	for _, location := range stack {
		for _, function := range p.functions[location] {
			c := owning(all, function)
			switch {
			case c == nil:
			case c.whole:
				return c.name
			case owner == componentRest:
				owner = c.name
			}
		}
	}
	return owner
}

// owning is the component to which a function belongs, or nil.
func owning(all []component, function string) *component {
	for i := range all {
		for _, prefix := range all[i].owns {
			if strings.HasPrefix(function, prefix) {
				return &all[i]
			}
		}
	}
	return nil
}

// profile is what is needed of a CPU profile in the format of github.com/google/pprof, profile.proto.
type profile struct {
	samples   []sample
	functions map[uint64][]string // of a location, the innermost first
}

type sample struct {
	stack []uint64 // locations, the innermost first
	cpu   time.Duration
}

// errProfile means that a profile is not in its format.
var errProfile = errors.New("not a CPU profile")

// The numbers of fields in profile.proto.
const (
	profileSample, profileLocation, profileFunction, profileString = 2, 4, 5, 6
	sampleLocation, sampleValue                                    = 1, 2
	locationID, locationLine                                       = 1, 4
	lineFunction                                                   = 1
	functionID, functionName                                       = 1, 2
)

func readProfile(zipped io.Reader) (*profile, error) {
	unzipped, err := gzip.NewReader(zipped)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(unzipped)
	if err != nil {
		return nil, err
	}
	p := &profile{functions: map[uint64][]string{}}
	var texts []string
	names, lines := map[uint64]uint64{}, map[uint64][]uint64{}
	err = eachField(raw, func(number, _ uint64, in []byte) error {
		switch number {
		case profileString:
			texts = append(texts, string(in))
		case profileFunction:
			var id, name uint64
			err := eachField(in, func(number, v uint64, _ []byte) error {
				switch number {
				case functionID:
					id = v
				case functionName:
					name = v
				}
				return nil
			})
			names[id] = name
			return err
		case profileLocation:
			id, functions, err := readLocation(in)
			lines[id] = functions
			return err
		case profileSample:
			s, err := readSample(in)
			p.samples = append(p.samples, s)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for location, functions := range lines {
		for _, f := range functions {
			if names[f] >= uint64(len(texts)) {
				return nil, fmt.Errorf("a name of number %d: %w", names[f], errProfile)
			}
			p.functions[location] = append(p.functions[location], texts[names[f]])
		}
	}
	return p, nil
}

func readLocation(raw []byte) (id uint64, functions []uint64, err error) {
	err = eachField(raw, func(number, v uint64, in []byte) error {
		switch number {
		case locationID:
			id = v
		case locationLine:
			return eachField(in, func(number, v uint64, _ []byte) error {
				if number == lineFunction {
					functions = append(functions, v)
				}
				return nil
			})
		}
		return nil
	})
	return id, functions, err
}

// readSample reads the stack and the last of the values, which is the CPU time in nanoseconds.
func readSample(raw []byte) (s sample, err error) {
	err = eachField(raw, func(number, v uint64, in []byte) error {
		values := []uint64{v}
		if in != nil { // packed
			values = nil
			for len(in) > 0 {
				v, n := binary.Uvarint(in)
				if n <= 0 {
					return errProfile
				}
				values, in = append(values, v), in[n:]
			}
		}
		switch number {
		case sampleLocation:
			s.stack = append(s.stack, values...)
		case sampleValue:
			s.cpu = time.Duration(values[len(values)-1]) //nolint:gosec // nanoseconds
		}
		return nil
	})
	return s, err
}

// eachField gives the fields of a protobuf message: a number's value, or bytes that are not nil.
func eachField(raw []byte, take func(number, v uint64, in []byte) error) error {
	const varint, counted = 0, 2
	for len(raw) > 0 {
		tag, n := binary.Uvarint(raw)
		if n <= 0 {
			return errProfile
		}
		raw = raw[n:]
		v, n := binary.Uvarint(raw)
		if n <= 0 {
			return errProfile
		}
		raw = raw[n:]
		var in []byte
		switch tag & 7 {
		case varint:
		case counted:
			if v > uint64(len(raw)) {
				return errProfile
			}
			in, raw = raw[:v:v], raw[v:]
		default:
			return fmt.Errorf("wire type %d: %w", tag&7, errProfile)
		}
		if err := take(tag>>3, v, in); err != nil {
			return err
		}
	}
	return nil
}
