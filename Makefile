# Needs Go, make and git. `make help` lists what can be made.

BINARY    := bin/ipqs-worker
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME  ?= 10s
PKG       ?= ./...

# The image that deploy/ runs: compose files, manifests and chart know it by this name. docker may be podman or nerdctl.
IMAGE     ?= ipqs-worker:0.1.0
DOCKER    ?= docker

# The linters are a module of their own, so that what they need stays out of the worker's.
LINT := go tool -modfile=.ci/tools.mod golangci-lint

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Run the whole pipeline with stand-ins for OpenCTI and IPQS: no account, broker or network
	$(BINARY) demo

.PHONY: build
build: ## Build bin/ipqs-worker
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BINARY) ./cmd/ipqs-worker

# withnode provides a RabbitMQ: the one that TEST_AMQP_URL names, else a private node, installing the server if it may.
.PHONY: test
test: ## Run all tests, against a RabbitMQ that is started for them (PKG=./path/... for some)
	race=$$(.ci/race) && \
	go run ./internal/rabbitnode/withnode -redis -- go test $$race -shuffle=on -timeout=20m $(PKG)

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Go
	race=$$(.ci/race) && CI= TEST_AMQP_URL= go test $$race -short -shuffle=on $(PKG)

.PHONY: chaos
chaos: ## Run the tests of what can fail at full length: 5,000 jobs under fire, outages of minutes, a cluster (25 minutes)
	CI=true CHAOS_JOBS=5000 SHARED_RELEASES=all go run ./internal/rabbitnode/withnode -- go test -count=1 -timeout=45m -v \
		-run 'TestChaos|BurntWhile|Hostile|Cluster|FiftyKills|ComeHome|EveryFate|ThreeMinutes|DayTurns|OutageOfAnHour|WithoutAnAnswer|ShareAWork' \
		./internal/e2e ./pipeline ./pipeline/rabbitmq

.PHONY: test-graph
test-graph: ## Try 10,000 random histories of an OpenCTI that others write to as well (a minute)
	go test -count=1 -run Property ./internal/graphtest

.PHONY: test-metrics
test-metrics: ## Check metrics, alerts and dashboard against a scrape of a worker under load (needs promtool)
	.ci/metrics

# The newest Jaeger that one command builds; it stays in .build.
JAEGER := .build/jaeger/all-in-one
$(JAEGER):
	GOBIN=$(CURDIR)/$(dir $(JAEGER)) go install github.com/jaegertracing/jaeger/cmd/all-in-one@v1.42.0

.PHONY: test-jaeger
test-jaeger: $(JAEGER) ## Have a real Jaeger show 100 jobs of five processes (builds Jaeger once, which takes minutes)
	JAEGER=$(CURDIR)/$(JAEGER) go run ./internal/rabbitnode/withnode -- go test -count=1 -timeout=10m -run Jaeger ./internal/e2e

# A collector with the few components that deploy/otel-collector.yaml uses.
OTELCOL := .build/otelcol/otelcol
$(OTELCOL): $(wildcard .ci/otelcol/*)
	cd .ci/otelcol && go build -trimpath -buildvcs=false -o $(CURDIR)/$(OTELCOL) .

.PHONY: test-collector
test-collector: $(OTELCOL) ## Have a real OpenTelemetry collector keep the traces that deploy/ says (builds it once, which takes minutes)
	OTELCOL=$(CURDIR)/$(OTELCOL) go run ./internal/rabbitnode/withnode -- go test -count=1 -timeout=10m -run TailSampling ./internal/e2e

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s)
	.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## Measure speed and cost, report in bench/ (BENCH=quick: a few minutes; BENCH=million: longer; ROWS=whole,slow: some)
	go run ./internal/rabbitnode/withnode -- \
		go run ./internal/bench/cmd -o bench $(if $(filter quick million,$(BENCH)),-$(BENCH)) $(if $(ROWS),-rows $(ROWS))

.PHONY: bench-scale
bench-scale: ## Measure what 1, 2, 4 and 8 worker processes do while IPQS takes 100 ms (6 minutes), report in bench/
	$(MAKE) bench ROWS=scale

.PHONY: bench-baseline
bench-baseline: ## Make the benchmarks of single steps of this version what `make bench` compares later ones with
	go test -run='^$$' -bench=. -benchmem -benchtime=100ms -count=10 -short ./stix ./stages ./pipeline >internal/bench/baseline.txt

.PHONY: lint
lint: ## Run the linters and see that everything is formatted (builds them first, which takes minutes once)
	$(LINT) run --allow-parallel-runners

.PHONY: vet
vet: ## Run go vet
	go vet ./...

.PHONY: fmt
fmt: ## Format the code
	$(LINT) fmt

.PHONY: generate
generate: ## Rewrite generated files: what tells of the configuration, from the table of its options
	go generate ./...

.PHONY: image
image: ## Build the container image (IMAGE=ipqs-worker:0.1.0) with docker (DOCKER=podman)
	$(DOCKER) build -f deploy/Dockerfile -t $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) .

.PHONY: deploy-check
deploy-check: ## Check all of deploy/: image, compose files, chart, manifests, unit (builds its tools first, which takes minutes once)
	.ci/deploy-check

.PHONY: release
release: ## Build what is released into dist/: archives, bills of materials, checksums
	.ci/release

.PHONY: release-check
release-check: ## Release the last commit twice and see that the bytes are the same
	.ci/release-check

.PHONY: note-image
note-image: ## Make docs/images/note.png from the note in docs/graph.md (needs chromium)
	.ci/note-image

.PHONY: tidy-check
tidy-check: ## See that go.mod and go.sum list what is used, and nothing else
	go mod tidy -diff

.PHONY: check
check: ## Do all that continuous integration does
	.ci/run

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin bench dist
