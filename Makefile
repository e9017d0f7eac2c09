# Everything that is run on this repository by hand or by CI. Start with: make help

SHELL   := /bin/sh
MODULES := $(patsubst %/go.mod,%,$(shell git ls-files --cached --others --exclude-standard -- '*go.mod'))
MODULES := $(patsubst go.mod,.,$(MODULES))
BIN     := $(CURDIR)/.bin
LINTER  := $(BIN)/golangci-lint
LINTER_VERSION := v2.15.0
FUZZTIME ?= 10s

# in-modules runs a command in every module.
in-modules = @set -e; for m in $(MODULES); do echo "== $$m: $(1)"; (cd $$m && $(1)); done

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What tests, examples and benchmarks use of testing/brokers.
BROKERS := rabbitmq@3.10 rabbitmq@4.3 kafka snssqs

.PHONY: test
test: ## everything that must pass, with the real brokers that are here
	go run ./testing/brokers/cmd/brokers run -- $(MAKE) --no-print-directory checks

.PHONY: checks
checks: workspace standalone lint tidy-check examples

.PHONY: brokers
brokers: ## fetch the real brokers: Debian or Ubuntu, as root
	go run ./testing/brokers/cmd/brokers install $(BROKERS)

.PHONY: workspace
workspace: ## vet and test every module with the race detector, in the workspace
	go vet work
	go test -race work

.PHONY: standalone
standalone: ## the same for each module by itself, as its users get it, without the long tests
	$(call in-modules,GOWORK=off go vet ./...)
	$(call in-modules,GOWORK=off go test -race -short ./...)

.PHONY: lint
lint: $(LINTER)-$(LINTER_VERSION) ## lint every module
	$(call in-modules,$(LINTER) run ./...)

.PHONY: tidy-check
tidy-check: ## go.mod and go.sum of every module are tidy
	$(call in-modules,GOWORK=off go mod tidy -diff)

.PHONY: examples
examples: ## run the example programs
	go run ./examples/quickstart
	go run ./examples/quickstart/brokers -broker 'memory://quickstart?like=sqs-fifo'
	go run ./examples/shop
	go run ./examples/trading -every 1ms
	go run ./examples/social
	go run ./examples/migration

.PHONY: snippets
snippets: ## the Go code in the documentation compiles
	go test -count=1 ./internal/snippets

.PHONY: flake
flake: ## look for tests that fail now and then
	go test -race -count=20 ./pubsub/... ./drivers/memory/... ./testing/...

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME
	@set -e; grep -rlE --include='*_test.go' '^func Fuzz' . | while read -r file; do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$$file"); do \
	    (cd "$$(dirname "$$file")" && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .); \
	  done; \
	done

.PHONY: bench-memory
bench-memory: ## measure the memory driver beside its peers
	cd bench && go run ./memory

.PHONY: bench-rabbitmq
bench-rabbitmq: ## measure the RabbitMQ driver beside the raw client and its peers
	cd bench && go run ../testing/brokers/cmd/brokers run rabbitmq@4.3 -- go run ./rabbitmq

.PHONY: bench-kafka
bench-kafka: ## measure the Kafka driver beside raw clients and its peers
	cd bench && go run ../testing/brokers/cmd/brokers run kafka -- go run ./kafka

.PHONY: bench-snssqs
bench-snssqs: ## measure the SNS/SQS driver beside the raw client, gocloud and Watermill, on an emulator and on a server of our own
	cd bench && go run ../testing/brokers/cmd/brokers run snssqs -- go run ./snssqs

.PHONY: bench-gcppubsub
bench-gcppubsub: ## measure the Google Pub/Sub driver beside Google's client and gocloud, on a server of our own
	cd bench && go run ./gcppubsub

.PHONY: bench-plots
bench-plots: ## draw the newest results of the benchmarks: bench/plots
	cd bench && go run ./plot

.PHONY: bench-engine
bench-engine: ## measure the engine alone, on one core
	go test -run '^$$' -bench . -cpu 1 ./pubsub

.PHONY: tools
tools: $(LINTER)-$(LINTER_VERSION) ## install the linter into .bin

$(LINTER)-$(LINTER_VERSION):
	GOWORK=off GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION)
	touch $@
