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

.PHONY: test
test: workspace standalone lint tidy-check examples ## everything that must pass

.PHONY: workspace
workspace: ## vet and test every module with the race detector, in the workspace
	go vet work
	go test -race work

.PHONY: standalone
standalone: ## the same for each module by itself, as its users get it
	$(call in-modules,GOWORK=off go vet ./...)
	$(call in-modules,GOWORK=off go test -race ./...)

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

.PHONY: bench-engine
bench-engine: ## measure the engine alone, on one core
	go test -run '^$$' -bench . -cpu 1 ./pubsub

.PHONY: tools
tools: $(LINTER)-$(LINTER_VERSION) ## install the linter into .bin

$(LINTER)-$(LINTER_VERSION):
	GOWORK=off GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION)
	touch $@
