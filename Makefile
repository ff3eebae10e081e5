# Latchkey. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN   := out/latchkey
TOOL  := go tool -modfile=$(CURDIR)/internal/tools/go.mod
ROUNDS ?= 100
SIEGE ?= 1h
FUZZTIME ?= 10m

# What the race detector is not told of, because it shares nothing, and telling took half the
# time of the tests that use it: SQLite, which is C translated to Go and has memory of its
# own, and the pictures of the simulated camera, which one goroutine draws.
ALONE := modernc.org/sqlite/lib modernc.org/libc latchkey/internal/simcamera/picture latchkey/internal/simcamera/h264
RACE  := GOFLAGS="$$GOFLAGS $(ALONE:%=-gcflags=%=-race=false)"

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build out/latchkey
	@mkdir -p out
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -o $(BIN) ./cmd/latchkey

.PHONY: run
run: build ## Show the main job: a simulated camera, two accounts, a share, a stream
	@./$(BIN) demo

.PHONY: test
test: ## Install what the tests need and run every test, with the race detector
	@.ci/setup
	@mkdir -p out
	@$(RACE) $(TOOL) gotestsum --format pkgname --jsonfile out/test.json -- -race -count=1 -timeout 45m ./...

# Left to `make test`: what needs other programs, and what takes seconds by itself.
LONG := Browser|GuessesWait|SenderReports|WhoIsOnThisMachine|TestCredentials|OnePullForAll|BrokenPackets|TestFailures|EveryViewerBegins|DialledAgainWhile|NothingDamaged|HostileHTTP|HostileRTSP|HoursEndWhatRuns|NobodyStaysAfter|PortsOfALiving|PTZMoves|WhyACamera|TwoDials|FileIsShown|HostileCameras|ChannelsElsewhere|Stall|HalfRequests|QueuedIsNot|Alarms|LostTheLease|DiedWhile|StoppedWhile|OneProcessActs|NotTakenForStalled|FFmpeg|FFprobe|GStreamer|Players|Decoders|Playback|ReplayEquals|StoppedInATransaction|AuthorizationMatrix|NeverCome|FloodOfGuesses|LocksOut|StalledViewer|SlowViewer|NoPacketAfter|Clock|Forgotten|Hashes|NextHolder|RowsOf|Subscription|BudgetOfBytes|Connection|Discovery

.PHONY: test-short
test-short: ## Something of every room, with Go alone, in under a minute
	@mkdir -p out
	@$(TOOL) gotestsum --format pkgname --hide-summary=skipped -- -short -count=1 -skip '$(LONG)' ./domain/... ./eventstore ./projections/... ./api/... ./streaming/... ./internal/...

.PHONY: check
check: ## gofmt, vet, golangci-lint, govulncheck; whether generated code is fresh
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	@.ci/fresh
	@go vet ./...
	@$(TOOL) golangci-lint run ./...
	@found=$$($(TOOL) govulncheck ./... 2>&1) || case "$$found" in \
		*"fetching vulnerabilities"*) echo "govulncheck: its database cannot be reached; known vulnerabilities were not looked for";; \
		*) echo "$$found"; exit 1;; \
	esac

.PHONY: generate
generate: ## Make the generated code again
	@go generate ./...

.PHONY: screenshots
screenshots: ## Take a picture of every page of the portal: out/screenshots
	@.ci/setup
	@rm -rf out/screenshots && mkdir -p out/screenshots
	@$(RACE) LATCHKEY_SCREENSHOTS=$(CURDIR)/out/screenshots go test -count=1 -v -run TestBrowserEveryPage ./internal/portaltest | grep --line-buffered -E '^ok|FAIL|\.png|_test.go'

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10m)
	@.ci/fuzz $(FUZZTIME)

.PHONY: torture
torture: ## Kill the process, cut its power and mix its stores up, ROUNDS (100) times; besiege it for SIEGE (1h); 10,000 steps against a model
	@.ci/setup
	@$(RACE) LATCHKEY_TORTURE_ROUNDS=$(ROUNDS) LATCHKEY_POWERCUT_ROUNDS=$(ROUNDS) LATCHKEY_PAIRS=$$((2 * $(ROUNDS))) LATCHKEY_STALE_TRIES=10000 LATCHKEY_MODEL_STEPS=10000 LATCHKEY_SIEGE=$(SIEGE) \
		go test -count=1 -v -timeout 5h -run 'Siege|Torture|PowerCut|StoresOfDifferentTimes|StalePermission|TheWholeAPI' ./cmd/latchkey

.PHONY: bench
bench: ## Measure, each figure as a ratio to a limit or a peer in the same run
	@.ci/setup
	@go run ./internal/bench
