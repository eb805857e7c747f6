# Builds, installs and tests pg_persona with cargo and install(1): no cargo-pgrx, and no PGXS rules to fight.
#
#   make && sudo make install       for the server that pg_config names
#   make PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config …      for another one
#   make demo, make test            do everything, from a bare Debian machine with Rust

EXTENSION  := pg_persona
VERSION    := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)
PG_CONFIG  ?= pg_config
CARGO      ?= cargo

# The install script is these files of sql/, in this order: what uses something comes after it.
SQL := registry types models recommenders update explain publish values segments attach tune views

# Expanded when used, not when read: `make deps` may install pg_config first.
PG_MAJOR    = $(shell $(PG_CONFIG) --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
PKGLIBDIR   = $(shell $(PG_CONFIG) --pkglibdir)
SHAREDIR    = $(shell $(PG_CONFIG) --sharedir)/extension
STAGE       = target/stage/$(PG_MAJOR)
# The mathematics: every crate but the extension itself.
CRATES      = --workspace --exclude $(EXTENSION)
FEATURES    = --no-default-features --features pg$(PG_MAJOR)

# A throw-away cluster around a command, for root and for an ordinary user, deleted afterwards.
CLUSTER     = tests/with_cluster $(PG_MAJOR)
SUDO       := $(if $(filter 0,$(shell id -u)),,sudo)

export PG_CONFIG
# pgrx reads this instead of the configuration that `cargo pgrx init` writes.
export PGRX_PG_CONFIG_PATH = $(shell command -v $(PG_CONFIG))

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.PHONY: all fault install uninstall ready deps lint test-crates fuzz installcheck check check-api check-spot check-docs \
        harness test test-pg15 test-pg16 test-pg17 test-pg18 test-long test-reference bench bench-peers demo deb clean help

##@ Build and install

all: ## build and stage everything that install copies (no root needed)
	@forgotten=$$(comm -3 <(printf '%s\n' $(SQL:%=sql/%.sql) | sort) <(ls sql/*.sql | grep -v -e -- | sort)); \
	test -z "$$forgotten" || { echo "SQL in the Makefile and sql/ differ in:" $$forgotten >&2; exit 1; }
	$(CARGO) build --release --locked $(FEATURES)
	@mkdir -p $(STAGE)
	@install -m 755 target/release/lib$(EXTENSION).so $(STAGE)/$(EXTENSION).so
	@{ echo '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; cat $(SQL:%=sql/%.sql); } \
	  > $(STAGE)/$(EXTENSION)--$(VERSION).sql
	@install -m 644 $(EXTENSION).control $(wildcard sql/$(EXTENSION)--*.sql) $(STAGE)/

# The library with fault points, for the tests of survival; never installed, tests bind functions to a copy of it.
fault: all ## build the library with fault points, for the harness
	$(CARGO) build --release --locked $(FEATURES),fault
	@mkdir -p $(STAGE)/fault
	@install -m 755 target/release/lib$(EXTENSION).so $(STAGE)/fault/$(EXTENSION).so

# install(1) makes a new file: a server that has the old library mapped keeps it, where cp would crash it.
install: ## copy what is staged, below $(DESTDIR) if set; compiles nothing
	@test -f $(STAGE)/$(EXTENSION).so || \
	  { echo "nothing is built for PostgreSQL $(PG_MAJOR) yet: run 'make' first, as yourself" >&2; exit 1; }
	install -d $(DESTDIR)$(PKGLIBDIR) $(DESTDIR)$(SHAREDIR)
	install -m 755 $(STAGE)/$(EXTENSION).so $(DESTDIR)$(PKGLIBDIR)/
	install -m 644 $(STAGE)/$(EXTENSION).control $(STAGE)/*.sql $(DESTDIR)$(SHAREDIR)/

uninstall: ## remove what install copied
	rm -f $(DESTDIR)$(PKGLIBDIR)/$(EXTENSION).so $(DESTDIR)$(SHAREDIR)/$(EXTENSION).control \
	  $(DESTDIR)$(SHAREDIR)/$(EXTENSION)--*.sql

deps: ## install what building and testing need and this Debian machine lacks
	@tests/deps.sh

# Only the copying runs as root: what cargo writes stays the caller's.
ready: deps all
	@$(SUDO) $(MAKE) -s install PG_CONFIG=$(PG_CONFIG)

deb: all ## one Debian package for this PostgreSQL major, in target/
	@tests/deb.sh $(EXTENSION) $(VERSION) $(PG_MAJOR)

# The folders of other Debian releases belong to root.
clean: ## remove everything built
	@test ! -e target/debian || $(SUDO) rm -rf target/debian
	$(CARGO) clean

##@ Try and test

demo: ready ## show it on this machine's package lists and on a shop's orders, in a throw-away cluster
	@$(CLUSTER) -- psql -X -q -v ON_ERROR_STOP=1 -f docs/demo.sql

test: deps lint test-crates ready check check-api check-spot harness check-docs demo ## every test, from a bare machine

test-pg15: ## what depends on PostgreSQL, on 15, in a folder of the Debian release that ships it
test-pg16: ## the same on 16, which comes from a Python wheel
test-pg17: ## the same on 17; REGRESS and HARNESS count here too
test-pg18: ## the same on 18
test-pg15 test-pg16 test-pg17 test-pg18: test-pg%:
	@tests/debian_folder.sh $* make ready check check-api harness check-docs demo \
	  REGRESS="$(REGRESS)" HARNESS="$(HARNESS)"

lint: ## formatting, floors and clippy, warnings are errors
	@python3 tests/layers.py
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets $(FEATURES) -- -D warnings
	$(CARGO) clippy --locked --all-targets $(FEATURES),fault -- -D warnings

test-crates: ## the mathematics, without Postgres
	$(CARGO) test --locked $(CRATES) 2>&1 | awk '{ print; fflush() } \
	  /^test result:/ { passed += $$4; failed += $$6 } \
	  END { printf "crates: %d passed, %d failed\n", passed, failed }'

FUZZ_SECONDS ?= 60
fuzz: deps ## search for bytes that break the readers of model images, for FUZZ_SECONDS
	@FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run

installcheck: ## SQL tests of what is installed on the server that PGHOST, PGPORT, PGUSER name; REGRESS=name for one
	@tests/pg_regress.sh $(REGRESS)

check: ## the same in a throw-away cluster
	@$(CLUSTER) -- tests/pg_regress.sh $(REGRESS)

check-api: ## every declared function exists in the library with the types it was declared with
	@$(CLUSTER) -- tests/api_check

check-spot: all ## pgspot finds no way into the install and update scripts for what an attacker planted
	@tests/check_spot $(STAGE)

check-docs: ## run the SQL of README.md and docs/ and compare what it prints
	@$(CLUSTER) -- python3 tests/docs.py README.md docs/*.md

harness: fault ## tests with many sessions, crashes and standbys; HARNESS=name for some
	@python3 tests/harness/run.py $(HARNESS)

test-long: ready fault ## what takes long: cancels on 10 million rows, fifty power failures, random SQL, valgrind, load
	@LONG=1 tests/deps.sh
	@python3 tests/harness/run.py --long $(HARNESS)

test-reference: ready ## reproduce published figures on the data sets in $SHARED_DATA
	@$(CLUSTER) -- tests/reference/run.sh

bench: ## speed of the mathematics
	$(CARGO) bench --locked $(CRATES)

bench-peers: ready ## side by side with other systems
	@$(CLUSTER) -o shared_buffers=2GB -o max_wal_size=8GB -- benches/peers/run

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { print "\n" substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
