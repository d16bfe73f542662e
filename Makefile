# Sampan's build. `make` alone lists the targets.
GO      ?= go
PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
BINS    := sampan sampand sampan-runtime sampan-box
PKG     := github.com/sampan-containers/sampan
LDFLAGS := -s -w -X $(PKG)/version.Version=$(VERSION) -X $(PKG)/version.Commit=$(COMMIT)
RUNROOT ?= /run/sampan

# place FILE,AS copies a program by large writes: what is written at once lies in the page
# cache in one piece, mapped with few faults, where a linker's
# or install(1)'s output comes there page by page. Each command starts 0.4 ms faster.
place = dd if=$(1) of=$(2).new bs=1M status=none && chmod 755 $(2).new && mv -f $(2).new $(2)

.DEFAULT_GOAL := help
.PHONY: help build install uninstall run test test-soak test-vm bench lint clean $(addprefix bin/,$(BINS))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(addprefix bin/,$(BINS)) ## build the four static binaries into bin/

$(addprefix bin/,$(BINS)): bin/%:
	@mkdir -p bin
	@mkdir -p .cache/link
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o .cache/link/$* ./cmd/$*
	@$(call place,.cache/link/$*,$@)

install: build ## install the binaries and the systemd unit below PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system
	@for b in $(BINS); do $(call place,bin/$$b,$(DESTDIR)$(PREFIX)/bin/$$b) || exit 1; done
	sed 's|@BIN@|$(PREFIX)/bin|' contrib/sampan.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/sampan.service

uninstall: ## remove what install put there (data in /var/lib/sampan stays)
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(BINS)) $(DESTDIR)$(PREFIX)/lib/systemd/system/sampan.service

run: build ## build, start the daemon if none runs, and run a first container
	@bin/sampan run --rm sampan/box hello

test: ## everything that CI runs (as root; installs the Debian packages it needs)
	@test/run.sh

test-soak: ## the loops and races of test with their full counts; takes some minutes
	@SAMPAN_COUNTS=full test/run.sh

test-vm: ## the cgroup v2 and older-kernel tests in a virtual machine
	@test/vm/run.sh

bench: build ## our figures beside the peers installed, into docs/benchmarks.md
	@test/bench/run.sh

lint: ## gofmt, go vet, staticcheck
	@test/lint.sh

clean: ## remove what the build made
	rm -rf bin .tools
