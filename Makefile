# GRACE. `make` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO             ?= go
PACKAGES       ?= ./...
TEST_TIMEOUT   ?= 15m
TEST_FLAGS     ?=
BENCH          ?= .
BENCH_COUNT    ?= 1
FUZZ_TIME      ?= 30s
SIM_SEED       ?= 1
SIM_SEEDS      ?= 2000
COMPARE        ?=
GOLANGCI       ?= golangci-lint
GOLANGCI_VERSION := v2.15.0
VERSION        ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# SQLite is C that was translated: the race detector finds nothing of ours in it
# and makes it five times slower; the checks of its pointers cost a sixth more.
RACE_FREE := -gcflags=modernc.org/...=-d=checkptr=0 -gcflags=modernc.org/sqlite/lib=-race=false
# Under the detector a program waits a second at its end: each of fifty test
# binaries does, and each process that they start.
GORACE ?= atexit_sleep_ms=0
# Many tests wait for real programs: more packages at once than there are cores.
AT_ONCE := -p $(shell echo $$(($$(nproc) * 3 / 2)))
# What takes longest begins first; go test keeps the order.
LONGEST := ./daemon ./internal/loop ./internal/store ./examples/shop ./internal/sim ./internal/api ./cmd/grace ./internal/forecast ./sensor/otlp ./internal/stage/predict ./internal/flow

TEST_ARGS = $(AT_ONCE) -vet=off -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) $(if $(filter ./...,$(PACKAGES)),$(LONGEST)) $(PACKAGES)

# The last line of every target: what it took since make began.
BEGAN := $(shell date +%s)
took   = @echo "make $@: $$(($$(date +%s) - $(BEGAN))) s"

# Folders of the packages that hold tests of a kind.
with_tests = $(sort $(patsubst %/,%,$(dir $(shell grep -rlE --include='*_test.go' $(1) . ))))
UPDATE_FLAG := 'flag\.Bool."update"'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/grace, one static binary, and bin/grace-demo, which shows and simulates it
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X grace/daemon.Version=$(VERSION) -X main.version=$(VERSION)" -o bin/ ./cmd/grace ./cmd/grace-demo
	$(took)

.PHONY: run
run: build ## build, then show GRACE healing a small shop (about 4 minutes)
	bin/grace-demo
	$(took)

.PHONY: test
test: ## vet, then every test
	$(GO) vet -stdmethods=false $(PACKAGES) # Prometheus' iterators have a Seek of their own; lint looks at all others
	$(GO) test $(TEST_ARGS)
	$(took)

.PHONY: race
race: export GORACE := $(GORACE)
race: ## every test with the race detector, but for the many simulated stories
	$(GO) test -race $(RACE_FREE) $(TEST_ARGS)
	$(took)

.PHONY: lint
lint: ## golangci-lint, formatting included (make tools installs it)
	@command -v $(GOLANGCI) >/dev/null || { echo "golangci-lint is missing; install it with: make tools" >&2; exit 1; }
	$(GOLANGCI) run
	$(took)

.PHONY: bench
bench: ## benchmarks with allocations (BENCH=pattern BENCH_COUNT=n; compare with benchstat)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(BENCH_COUNT) -timeout 60m $(call with_tests,'^func Benchmark')
	$(took)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_TIME (30s)
	@for dir in $(call with_tests,'^func Fuzz'); do \
		for target in $$($(GO) test -list '^Fuzz' $$dir | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) $$dir; \
		done; \
	done
	$(took)

.PHONY: chaos
chaos: ## kill -9 under load, 200 times on SQLite and on three replicas with PostgreSQL (12 minutes; CHAOS=flags)
	@mkdir -p bin && $(GO) build -o bin/chaos ./bench/chaos
	bin/chaos --database sqlite $(CHAOS)
	bin/chaos --database postgres $(CHAOS)
	$(took)

.PHONY: sim
sim: build ## GRACE and the reference operators through SIM_SEEDS (2000) simulated stories from SIM_SEED (1)
	bin/grace-demo sim --seed $(SIM_SEED) --n $(SIM_SEEDS) --compare
	$(took)

.PHONY: story
story: build ## the demo once, told to the end: JSON, exit code 1 when it did not go as told
	bin/grace-demo --once --json > bin/story.json
	$(took)

.PHONY: replay
replay: story ## the decisions of the story, of the golden scenarios and of SIM_SEEDS (2000) simulated stories from SIM_SEED (1), computed again from their records
	GRACE_REPLAYED=$(CURDIR)/bin/goldens.json $(GO) test -count 1 -run '^TestScenarios$$' ./internal/loop
	bin/grace-demo sim --seed $(SIM_SEED) --n $(SIM_SEEDS) --with bin/story.json --with bin/goldens.json

.PHONY: field
field: build ## 25 faults on real programs, by alerts too, with restarts, kills and clock steps of GRACE (10 minutes; FIELD=-short: 4); fails when a promise is broken
	@mkdir -p bin && $(GO) build -o bin/field ./bench/field
	$(GO) run ./bench/field/stepclock bin/grace-stepclock
	bin/field $(FIELD)

.PHONY: eval
eval: ## predictions on real series next to the usual tools; writes docs/evaluation.md (GRACE_EVAL_DATA=folder; EVAL='-half choose' to choose constants by)
	@mkdir -p bin && $(GO) build -o bin/eval ./bench/eval
	GRACE_EVAL_DATA="$${GRACE_EVAL_DATA:-../shared/data}" bin/eval $(or $(EVAL),-docs docs/evaluation.md)
	$(took)

.PHONY: load
load: build ## 1,000 services, 10,000 probes a minute, a storm of 50,000 alerts, lists on 100,000 runs, on SQLite and on PostgreSQL (8 minutes; LOAD=flags)
	@mkdir -p bin && $(GO) build -o bin/load ./bench/load
	bin/load -database sqlite -json bin/load.json $(LOAD)
	bin/load -database postgres -json bin/load-postgres.json $(LOAD)
	$(took)

.PHONY: compare
compare: build ## GRACE next to Prometheus and monit on real processes (40 minutes); writes docs/comparison.md (COMPARE=flags of another run)
	@mkdir -p bin && $(GO) build -o bin/compare ./bench/compare
	bin/compare $(or $(COMPARE),-out docs)
	$(took)

.PHONY: compare-ingest
compare-ingest: ## GRACE's remote-write receiver next to Prometheus' own, in samples/s a core (2 minutes; INGEST=flags)
	@mkdir -p bin && $(GO) build -o bin/ingest ./bench/ingest
	bin/ingest -json bin/ingest.json $(INGEST)
	$(took)

.PHONY: idle
idle: build ## what GRACE costs while nothing happens: processor time and memory, watching 50 services on one host (2 minutes; IDLE=flags)
	@mkdir -p bin && $(GO) build -o bin/idle ./bench/idle
	bin/idle $(IDLE)
	$(took)

.PHONY: compare-promql
compare-promql: ## what expressions say here next to Debian's Prometheus, over the same samples, and the tests of its engine (1 minute; PROMQL=flags)
	@mkdir -p bin && $(GO) build -o bin/promql ./bench/promql
	bin/promql $(PROMQL)
	cd bench/promqltest && $(GO) test ./...
	$(took)

.PHONY: rules
rules: ## load every rule file and SLO below RULES=folder; fails when one cannot be used
	@mkdir -p bin && $(GO) build -o bin/rules ./bench/rules
	bin/rules $(RULES)
	$(took)

.PHONY: golden
golden: ## write golden files, openapi.json and docs/configuration.md anew; read the diff
	@for dir in $(call with_tests,$(UPDATE_FLAG)); do echo "$$dir"; $(GO) test -count=1 $$dir -update >/dev/null; done
	@git status --short
	$(took)

.PHONY: verify
verify: lint drift test race ## what CI holds a change to: lint, nothing generated is stale, every test, without and with the race detector
	$(took)

.PHONY: drift
drift: ## fail when go.mod, openapi.json or docs/configuration.md is stale
	$(GO) mod tidy -diff
	$(GO) test -count=1 -run 'TestReference|TestSchema|TestOpenAPI' ./internal/config ./internal/api
	$(took)

.PHONY: tools
tools: ## install golangci-lint at the pinned version (takes minutes)
	$(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	$(took)
