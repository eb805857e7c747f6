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
SQL := registry types models recommenders views

# Expanded when used, not when read: `make deps` may install pg_config first.
PG_MAJOR    = $(shell $(PG_CONFIG) --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
PKGLIBDIR   = $(shell $(PG_CONFIG) --pkglibdir)
SHAREDIR    = $(shell $(PG_CONFIG) --sharedir)/extension
STAGE       = target/stage/$(PG_MAJOR)
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
.PHONY: all install uninstall ready deps lint test-algorithms installcheck check check-api check-docs harness \
        test test-long test-reference bench bench-peers demo deb clean help

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

clean: ## remove everything built
	$(CARGO) clean

##@ Try and test

demo: ready ## show it on the package lists of this machine, in a throw-away cluster
	@$(CLUSTER) -- psql -X -q -v ON_ERROR_STOP=1 -f docs/demo.sql

test: deps lint test-algorithms ready check check-api harness check-docs demo ## every test, from a bare machine

lint: ## formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets $(FEATURES) -- -D warnings

test-algorithms: ## the mathematics, without Postgres
	$(CARGO) test --locked -p algorithms 2>&1 | awk '{ print; fflush() } \
	  /^test result:/ { passed += $$4; failed += $$6 } \
	  END { printf "algorithms: %d passed, %d failed\n", passed, failed }'

installcheck: ## SQL tests of what is installed on the server that PGHOST, PGPORT, PGUSER name; REGRESS=name for one
	@tests/pg_regress.sh $(REGRESS)

check: ## the same in a throw-away cluster
	@$(CLUSTER) -- tests/pg_regress.sh $(REGRESS)

check-api: ## every declared function exists in the library with the types it was declared with
	@$(CLUSTER) -- tests/api_check

check-docs: ## run the SQL of README.md and docs/ and compare what it prints
	@$(CLUSTER) -- python3 tests/docs.py README.md docs/*.md

harness: ## tests with many sessions, crashes and standbys; HARNESS=name for some
	@python3 tests/harness/run.py $(HARNESS)

test-long: ready ## what takes long: 200 cancels of trainings on 10 million rows, and their memory
	@python3 tests/harness/run.py --long $(HARNESS)

test-reference: ready ## reproduce published figures on the data sets in $SHARED_DATA
	@$(CLUSTER) -- tests/reference/run.sh

bench: ## speed of the mathematics
	$(CARGO) bench --locked -p algorithms

bench-peers: ready ## side by side with other systems
	@$(CLUSTER) -o shared_buffers=2GB -o max_wal_size=8GB -- benches/peers/run

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { print "\n" substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
