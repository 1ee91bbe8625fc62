# Everything that a person or CI does here. Each target needs Go, git and make, and says what else it installs.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# The race detector needs a C compiler; without one the tests run all the same, and say so.
RACE := $(shell command -v $$(go env CC | cut -d' ' -f1) >/dev/null 2>&1 && echo -race)
WITH_SERVERS := go run ./internal/devstack/withservers

# What bench-compare compares with.
BASE ?= $(shell git describe --tags --abbrev=0 2>/dev/null)

# The schema that clients were last promised.
RELEASED := internal/contract/released.graphqls

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## serve a demo shop on :8080, on a private Postgres and Redis under .emporium/
	@mkdir -p .emporium/bin
	go build -o .emporium/bin/emporium .
	@exec .emporium/bin/emporium

.PHONY: test
test: ## run all tests, on a Postgres and Redis of their own
	@[ -n "$(RACE)" ] || echo "no C compiler: the tests run without the race detector"
	$(WITH_SERVERS) go test $(RACE) -timeout 20m ./...

.PHONY: test-apart
test-apart: ## run all tests with a database for each domain, but those of who may ask, which are long
	EMPORIUM_TEST_APART=1 $(WITH_SERVERS) go test $(RACE) -count=1 -timeout 20m -skip '^Test(IDOR|Attacks)' \
		./graph/... ./internal/app/... ./internal/user/... ./internal/product/... ./internal/order/... ./internal/payment/... ./internal/seed/... ./internal/productcsv/... ./e2e/crash

# Each is a package and a fuzz test in it; none needs a server.
FUZZ_TARGETS := graph:FuzzRequest graph/scalar:FuzzScalars internal/page:FuzzCursor internal/id:FuzzParse internal/auth:FuzzVerify \
	internal/productcsv:FuzzRead internal/postgres/logical:FuzzDecode internal/markup:FuzzClean graph/scalar:FuzzText

.PHONY: fuzz
fuzz: ## send whatever comes to mind to what parses (FUZZ_SECONDS: for how long each, 60)
	@set -e; for target in $(FUZZ_TARGETS); do echo "== $$target"; \
		go test -run '^$$' -fuzz "^$${target#*:}\$$" -fuzztime $${FUZZ_SECONDS:-60}s ./$${target%:*}; done

.PHONY: crash
crash: ## kill the server at each step and 50 times under load, and Postgres (EMPORIUM_CRASHES sets how often)
	EMPORIUM_CRASHES=$${EMPORIUM_CRASHES:-50} $(WITH_SERVERS) go test -count=1 -v -timeout 30m ./e2e/crash

.PHONY: race-cache
race-cache: ## race readers and writers of the response cache on servers that are frozen and killed (EMPORIUM_RACE_SECONDS: how long; EMPORIUM_RACE_MEASURE=1: with measurements)
	EMPORIUM_RACE_SECONDS=$${EMPORIUM_RACE_SECONDS:-300} go test -count=1 -v -timeout 24h -run 'TestRace|TestMeasure' ./internal/cache ./e2e/race

.PHONY: soak
soak: ## keep two servers busy with good and hostile requests and see that nothing is left (EMPORIUM_SOAK_SECONDS: for how long, 1200)
	EMPORIUM_SOAK_SECONDS=$${EMPORIUM_SOAK_SECONDS:-1200} go test -count=1 -v -timeout 2h ./e2e/soak

.PHONY: e2e
e2e: ## ask the server with the libraries of frontends, and drive the Playground in a headless browser
	e2e/run.sh

.PHONY: check
check: ## formatting, linters, generated code, structure
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go mod tidy -diff
	@before=$$(cat graph/*.generated.go | cksum); $(MAKE) --no-print-directory generate; \
		[ "$$before" = "$$(cat graph/*.generated.go | cksum)" ] || { echo "graph/*.generated.go was not up to date: commit what make generate has made"; exit 1; }
	go test -run '^TestStructure' ./internal/app
	@mkdir -p .emporium/bin
	@go build -o .emporium/bin/check . && .emporium/bin/check schema lint && \
		{ .emporium/bin/check schema diff $(RELEASED) || { echo "see docs/contract.md"; exit 1; }; }

.PHONY: release-schema
release-schema: ## take the schema as it is for the released one, with which make check compares
	@mkdir -p .emporium/bin
	@go build -o .emporium/bin/check . && .emporium/bin/check schema diff $(RELEASED) && .emporium/bin/check schema print > .emporium/released.graphqls && mv .emporium/released.graphqls $(RELEASED)

.PHONY: generate
generate: ## turn schema.graphqls into graph/*.generated.go
	@rm -f graph/*.generated.go
	go run ./graph/generate

.PHONY: playground
playground: ## rebuild the Playground's embedded files (needs Node.js and npm)
	internal/httpserver/playground/src/build.sh

.PHONY: bench
bench: ## measure the server against a hand-written handler
	go run ./bench

.PHONY: bench-scaling
bench-scaling: ## measure how the server's cost grows with the rows and the depth of an answer
	go run ./bench -workloads scaling

.PHONY: bench-compare
bench-compare: ## compare the Go benchmarks with those of BASE=<revision>; without it, of the latest tag
	@[ -n "$(BASE)" ] || { echo "there is no tag to compare with: give BASE=<revision>"; exit 1; }
	BASE="$(BASE)" $(WITH_SERVERS) bench/compare.sh

.PHONY: vuln
vuln: ## look for known vulnerabilities (asks the web)
	go tool govulncheck ./...
