# `make check` at every edit, `make test` before a merge: CI runs nothing else.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 60s
CHAOS ?= 10m
SOAK ?= 10m
STEP := tools/step

# Tests of real processes: they want the machine to themselves, and `make check`
# has no time for them.
SLOW = $(shell go list ./... | grep -E '/test/(e2e|page|chaos)(/|$$)')
FAST = $(shell go list ./... | grep -vE '/test/(e2e|page|chaos)(/|$$)')

##@ Every day

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo

.PHONY: check
check: formatted vet lint unit cross ## Everything quick, for every edit: under a minute once warm

.PHONY: test
test: ## Everything: installs what tests need, then checks, race tests, end to end
	@$(STEP) setup tools/setup
	@failed=; \
	for step in formatted modules vet lint cross; do \
	  $(MAKE) --no-print-directory $$step || failed="$$failed $$step"; \
	done; \
	go run ./tools/testrun -failed "$$failed" \
	  -- -race -shuffle=on -timeout=10m $(FAST) \
	  $(addprefix -- -race -shuffle=on -p=1 -timeout=30m ,$(SLOW))

.PHONY: build
build: ## Build bin/bindu-edge for this machine
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/bindu-edge ./cmd/bindu-edge

.PHONY: format
format: ## Rewrite Go files as gofmt wants them
	gofmt -w .

.PHONY: docs
docs: ## Write anew what is generated from the code
	go generate ./...

# Built first: `go run` would not pass a SIGTERM on.
.PHONY: bench
bench: ## Measure against two nginx proxies: under 5 minutes, BENCH='-only get1k' for less
	@tools/setup
	@go build -o bin/bench ./bench && exec bin/bench -json bin/bench.json $(BENCH)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (60s)
	@FUZZTIME=$(FUZZTIME) tools/fuzz

.PHONY: soak
soak: ## Links and callers come and go for SOAK (10m); what they leave behind is a failure
	go test -count=1 -v -timeout=0 -run '^TestChurn$$' ./test/e2e -soak=$(SOAK)

.PHONY: chaos
chaos: ## Break one thing after another under load for CHAOS (10m); CHAOSFLAGS='-seed 7' repeats a run
	@tools/setup
	go test -race -count=1 -v -timeout=0 ./test/chaos -for=$(CHAOS) $(CHAOSFLAGS)

.PHONY: cluster
cluster: build ## Three pods, a load balancer, Redis and a control plane on this machine, to try and to break
	@tools/setup
	@go build -o bin/cluster ./tools/cluster && exec bin/cluster $(CLUSTER)

##@ The steps by themselves

.PHONY: formatted
formatted: ## Fail when gofmt would change a file
	@$(STEP) format tools/formatted

.PHONY: modules
modules: ## Fail when go.mod or go.sum is not tidy
	@$(STEP) modules go mod tidy -diff

.PHONY: vet
vet: ## go vet
	@$(STEP) vet go vet ./...

.PHONY: lint
lint: ## golangci-lint, built once and kept in the user's cache
	@$(STEP) lint tools/lint/lint run ./...

.PHONY: unit
unit: ## Fast tests, import rules among them
	@$(STEP) 'unit tests' go run ./tools/testrun -- -short -timeout=1m $(FAST)

.PHONY: cross
cross: ## Build for linux, darwin and windows on amd64 and arm64
	@$(STEP) 'cross-build, 6 platforms' tools/cross

.PHONY: clean
clean: ## Remove what a build leaves in the tree
	rm -rf bin
