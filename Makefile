# The targets that a contributor needs. Go is all that they need themselves.

GO ?= go
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK ?= $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0
BIN := bin/miniforge

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/miniforge
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o $(BIN) ./cmd/miniforge

.PHONY: demo
demo: build ## Build, then run the main job: up, three orders, verify, down
	./scripts/demo $(BIN)

.PHONY: test
test: ## Run all tests
	$(GO) test ./...

.PHONY: race
race: ## Run all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./test/... ./... # the longest first, so that none is left alone at the end

.PHONY: vet
vet: ## Run go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## Run all linters of .golangci.yml
	$(GOLANGCI_LINT) run

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what is called (needs vuln.go.dev)
	$(GOVULNCHECK) ./...

.PHONY: fmt
fmt: ## Format all Go files
	gofmt -w $$($(GO) list -f '{{.Dir}}' ./...)

.PHONY: bench
bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: script
script: ## Run the whole-program stories of test/script
	$(GO) test -count=1 ./test/script

.PHONY: lifecycle
lifecycle: ## Run the stack's lifecycle against the embedded cloud
	$(GO) test -count=1 -run Lifecycle ./internal/... ./test/...

.PHONY: crash
crash: ## Kill the embedded cloud 50 times under orders; nothing may be lost
	$(GO) test -count=1 -v ./test/crash -rounds 50 -seed $$RANDOM$$$$

.PHONY: security
security: ## Take away each permission, one by one, and deliver without it
	$(GO) test -count=1 -timeout 30m -v ./test/security -exhaustive

FUZZTIME ?= 90s

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (90s)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | while IFS=: read -r file func; do \
		$(GO) test -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) -parallel 1 "$${file%/*}" </dev/null || exit 1; \
	done

SEEDS ?= 200
DURATION ?= 1m
FIRST ?= 1

.PHONY: soak
soak: ## Run 200 seeded schedules of faults, a minute each (SEEDS, DURATION, FIRST)
	$(GO) test -count=1 -timeout 0 -v ./test/fault -slow -seeds $(SEEDS) -duration $(DURATION) -first $(FIRST) -worlds 4

.PHONY: cuts
cuts: ## Cut up, down and deploy at each of their API calls, before and after its effect
	$(GO) test -count=1 -timeout 60m ./test/crash -run CutAnywhere -every-call

.PHONY: kills
kills: ## Kill up and down 1,000 times at random; nothing may be left over
	$(GO) test -count=1 -timeout 120m -v ./test/crash -run KilledUp -kills 1000 -seed $$RANDOM$$$$
