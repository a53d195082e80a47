# CypherLink. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cypherlink
TOOLS := $(CACHE)/tools
GOLANGCI := $(TOOLS)/golangci-lint-v2.15.0
GOVULNCHECK := $(TOOLS)/govulncheck-v1.9.0
VULNDB_VERSION := v0.0.0-20261105234957-e22db6528018
VULNDB := $(CACHE)/vulndb-$(VULNDB_VERSION)
FUZZTIME ?= 20s

export CGO_ENABLED ?= 0

.PHONY: help build demo check test bench fuzz vuln

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: ## compile everything
	go build ./...

demo: ## play the whitepaper's thirteen steps, here and now
	go run ./cmd/cypherlink demo

# Packages with sockets, processes and timeouts of their own share two cores badly: their tests run one
# package at a time. The others are steps of machines, in virtual time where there is any. All are compiled
# beside each other first.
TIMED := ./api ./cmd/... ./chain/follow ./chain/member ./chain/submit ./internal/... ./ledger/book \
  ./ledger-adapters/... ./payment/books ./tap
STEPPED = $(filter-out $(shell go list $(TIMED)),$(shell go list ./...))

check: $(GOLANGCI) ## format, vet, lint, the tidy test, short tests under the race detector
	@out=$$($(GOLANGCI) fmt --diff); [ -z "$$out" ] || { echo "$$out"; echo "run: $(GOLANGCI) fmt"; exit 1; }
	go vet ./...
	$(GOLANGCI) run ./...
	CGO_ENABLED=1 go test -race -short -run '^$$' ./... >/dev/null
	CGO_ENABLED=1 go test -race -short -timeout 20m $(STEPPED)
	CGO_ENABLED=1 go test -race -short -p 1 -timeout 20m $(TIMED)

test: ## every test, with a PostgreSQL and an Apache Kafka that it sets up itself
	go test -tags integration -run '^$$' ./... >/dev/null
	deploy/test/with-services bash -ec 'go test -tags integration -timeout 30m $(STEPPED); \
	  go test -tags integration -p 1 -timeout 30m $(TIMED)'

bench: ## every benchmark
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## every fuzz target for FUZZTIME (20s) each
	@go list ./... | while read -r p; do \
	  go test -list '^Fuzz' "$$p" | { grep '^Fuzz' || true; } | while read -r f; do \
	    echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) "$$p" </dev/null; done; done

vuln: $(GOVULNCHECK) $(VULNDB) ## known vulnerabilities, by an offline database
	$(GOVULNCHECK) -db file://$(VULNDB) ./...

$(GOLANGCI):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(TOOLS)/golangci-lint $@

$(GOVULNCHECK):
	GOBIN=$(TOOLS) go install golang.org/x/vuln/cmd/govulncheck@v1.9.0
	mv $(TOOLS)/govulncheck $@

# gendb reads a git repository, so the database's source becomes one.
$(VULNDB):
	GOBIN=$(TOOLS) go install golang.org/x/vulndb/cmd/gendb@$(VULNDB_VERSION)
	d=$$(mktemp -d); trap 'rm -rf "$$d"' EXIT; \
	cp -r "$$(go mod download -json golang.org/x/vulndb@$(VULNDB_VERSION) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/data" "$$d/data"; \
	chmod -R u+w "$$d"; git -C "$$d" init -q; git -C "$$d" add .; \
	git -C "$$d" -c user.name=vulndb -c user.email=vulndb@localhost commit -qm data; \
	$(TOOLS)/gendb -repo "$$d" -out $@
