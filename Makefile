# Everything a developer or a CI machine does with Coffer. `make` lists it.

# The recipe of `run` uses job control, which not every sh has.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# More arguments for pytest or for uv: make test ARGS="-k upload".
ARGS ?=
# Where `make schema` writes.
SCHEMA ?= schema.graphql
# What the browser tests drive: the one that is on the PATH, else Debian's.
CHROMIUM := $(or $(shell command -v chromium),/usr/bin/chromium)

# An environment whose interpreter was removed, or replaced by another minor
# version in place, still looks installed to make. Ask it, and when it fails
# build it anew whatever the stamps say.
venv-works = test -f $(VENV)/pyvenv.cfg && $(BIN)/python -c \
	'import os, site; assert os.path.isdir(site.getsitepackages()[0])' 2>/dev/null
REBUILD := $(if $(shell $(venv-works) && echo yes),,rebuild)

# The pages that are built from a source of their own, by Node.
PAGES := graphiql library

# The development packages include those that run the service, so once they
# are installed, running needs nothing else.
RUN_STAMP := $(if $(wildcard $(VENV)/.dev),$(VENV)/.dev,$(VENV)/.run)
DEV_STAMP := $(VENV)/.dev

# $(call install,requirements file): make the environment if there is none that
# works, then install exactly what the file pins. Debian's Python comes without
# ensurepip unless python3-venv is installed; the pip beside the interpreter can
# then install into the environment from outside.
define install
	@if ! ($(venv-works)); then \
		python=$$(scripts/find-python); \
		echo "Making $(VENV) with $$("$$python" -V)."; \
		rm -rf $(VENV); \
		if "$$python" -c 'import ensurepip' 2>/dev/null; then \
			"$$python" -m venv $(VENV); \
		elif "$$python" -m pip --version >/dev/null 2>&1; then \
			"$$python" -m venv --without-pip $(VENV); \
		else \
			echo "$$python has neither ensurepip nor pip: install python3-venv (or python3-pip) for it, or name another interpreter with PYTHON=/path/to/python." >&2; \
			exit 1; \
		fi; \
	fi; \
	if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		pip=($(BIN)/python -m pip); \
	else \
		python=$$(scripts/find-python); \
		pip=("$$python" -m pip --python $(BIN)/python); \
	fi; \
	echo "Installing the packages of $(1); the first time takes about a minute."; \
	"$${pip[@]}" install --quiet --quiet --disable-pip-version-check --no-input --require-hashes -r $(1)
	@touch $@
endef

.PHONY: help run serve demo redis-server test test-postgres test-browser test-deploy test-long test-storage memcached soak screenshots lint format schema $(PAGES) check-pages $(PAGES:%=check-%) lock bench bench-images bench-servers clean rebuild

help: ## list what make can do
	@echo "Coffer: make TARGET"
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.run: requirements.txt $(REBUILD)
	$(call install,requirements.txt)

$(VENV)/.dev: requirements-dev.txt $(REBUILD)
	$(call install,requirements-dev.txt)

# The servers that the storage tests start have an environment of their own.
SERVERS := .venv-servers
$(VENV)/.servers: tests/storage/servers.txt $(REBUILD)
	$(call install,tests/storage/servers.txt)

tests/storage/node_modules/.installed: tests/storage/package-lock.json
	@cd tests/storage && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

rebuild:

# A developer's server shows the GraphQL explorer and answers introspection and
# queries by GET, unless the environment or .env says something about them.
in-dotenv = $(shell grep -sE '^[[:space:]]*(export[[:space:]]+)?$(1)[[:space:]]*=' .env)
ifeq ($(call in-dotenv,GRAPHIQL),)
run: export GRAPHIQL ?= True
endif
ifeq ($(call in-dotenv,INTROSPECTION),)
run: export INTROSPECTION ?= True
endif
ifeq ($(call in-dotenv,QUERIES_BY_GET),)
run: export QUERIES_BY_GET ?= True
endif
ifeq ($(call in-dotenv,LOG_FORMAT),)
run demo: export LOG_FORMAT ?= line
endif

# Only make itself is left to receive a Ctrl-C that the server has dealt with,
# and would call it a failure; so on a terminal the server gets a process group
# of its own. It then has to be told when make is killed, where that is possible.
die-with-make = $(shell setpriv --pdeathsig TERM true 2>/dev/null && echo setpriv --pdeathsig TERM)

run: $(RUN_STAMP) ## start the service; HOST, PORT and DATA_DIR are passed on
	@if [ -t 0 ]; then \
		set -m; $(die-with-make) $(BIN)/python manage.py run; exit $$?; \
	else \
		exec $(BIN)/python manage.py run; \
	fi

# What was uploaded is said by the command itself; the log would say it twice.
ifeq ($(call in-dotenv,LOG_LEVEL),)
demo: export LOG_LEVEL ?= WARNING
endif

# All settings are the operator's: nothing is turned on here.
serve: $(RUN_STAMP) ## serve in production; the database has to be migrated
	@exec $(BIN)/python manage.py serve

demo: $(RUN_STAMP) ## fill the database with files to look at; ARGS="--user alice" says whose
	@$(BIN)/python manage.py demo $(ARGS)

test: $(DEV_STAMP) ## run the tests; ARGS="-k name" passes arguments to pytest
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

# DATABASE_URL names a server to use; without it one is started, from a package. What takes minutes is not in it.
test-postgres: $(DEV_STAMP) ## run the tests on PostgreSQL, which is started for them; ARGS as for test
	@$(BIN)/python -m tests.postgres $(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

test-long: $(DEV_STAMP) redis-server ## what takes minutes: the first start, outages, kills at each step, servers that are stopped amid uploads, logs and figures, stuck decoders, large uploads
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/long $(ARGS)

# The queue of some tests; not on PyPI. Debian starts one at its installation unless it is told not to; the
# tests start their own.
redis-server:
	@command -v $@ >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $@ >/dev/null; \
		else \
			echo "Workers are tested over Redis: install it (on Debian: apt-get install $@)." >&2; exit 1; \
		fi; \
	}

test-browser: $(DEV_STAMP) $(CHROMIUM) ## drive the pages in Chromium; ARGS as for test
	@$(BIN)/python -m pytest tests/browser $(ARGS)

screenshots: $(DEV_STAMP) $(CHROMIUM) ## take the pictures in docs/ anew
	@SCREENSHOTS=docs $(BIN)/python -m pytest tests/browser -k dark

/usr/bin/chromium:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; \
	else \
		echo "The pages are tested in Chromium: install it (on Debian: apt-get install chromium)." >&2; \
		exit 1; \
	fi

test-deploy: $(DEV_STAMP) ## drive what docker/ and systemd/ ship: nginx before the service, the commands of the image
	@if ! PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light >/dev/null; \
		else \
			echo "The shipped nginx.conf is tried with nginx: install it, for example by apt-get install nginx-light." >&2; exit 1; \
		fi; \
	fi
	@$(BIN)/python -m pytest tests/deploy $(ARGS)

# Swift keeps its tokens there; not on PyPI.
memcached:
	@if ! command -v $@ >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $@ >/dev/null; \
		else \
			echo "Swift needs memcached: install it, for example by apt-get install memcached." >&2; exit 1; \
		fi; \
	fi

test-storage: $(DEV_STAMP) tests/storage/node_modules/.installed memcached ## run the storage tests against real Swift, Azurite and an emulator of Google's
	@$(MAKE) --no-print-directory VENV=$(SERVERS) $(SERVERS)/.servers
	@STORAGE_SERVERS=1 $(BIN)/python -m pytest tests/test_storage_contract.py tests/storage $(ARGS)

soak: $(DEV_STAMP) memcached ## load, kills and faults on PostgreSQL, Swift and workers for 5 minutes; ARGS="--help" says more
	@$(MAKE) --no-print-directory VENV=$(SERVERS) $(SERVERS)/.servers
	@$(BIN)/python -m tests.soak $(ARGS)

lint: $(DEV_STAMP) ## check style, types and the direction of imports
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/python $(BIN)/lint-imports --no-logo
	@$(BIN)/python -m bandit --quiet --severity-level medium --recursive accounts audit config database files graph \
		--exclude '*/node_modules/*'

format: $(DEV_STAMP) ## mend what can be mended without thought; lint tells the rest
	@$(BIN)/python -m ruff check --fix-only .
	@$(BIN)/python -m ruff format .

# The command leaves out the line end that every other text file here has.
schema: $(DEV_STAMP) ## write schema.graphql from the code
	@$(BIN)/python manage.py export_schema graph.schema:schema --path "$(SCHEMA)"
	@[ -z "$$(tail -c 1 "$(SCHEMA)")" ] || echo >> "$(SCHEMA)"

# What the pages are built to is in the repository, so that running needs no Node.
# $(call npm-build,page): by exactly the packages of its lock file
npm-build = cd graph/$(1) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error \
	&& npm run --silent build -- --logLevel error

graphiql: ## build the GraphiQL page from its source; needs Node
	@$(call npm-build,$@)

library: ## build the library page from its source; needs Node
	@$(call npm-build,$@)

check-pages: $(PAGES:%=check-%) ## build both elsewhere, and compare byte by byte with what is in the repository

check-graphiql check-library: check-%:
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	($(call npm-build,$*) --outDir "$$scratch"); \
	diff -rq "$$scratch" graph/static/graph/$* \
		|| { echo "The build of $* is not what its source makes: run \"make $*\" and commit the result." >&2; exit 1; }; \
	echo "The build of $* is what its source makes."

# The oldest supported version is the one to resolve for: the pins then hold on
# every later one. ARGS=--upgrade takes newer releases.
PINS = $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.12 \
	--python $(BIN)/python --generate-hashes --no-emit-index-url --annotation-style line \
	--custom-compile-command "make lock" $(ARGS)
LOCK = $(PINS) pyproject.toml

lock: $(DEV_STAMP) ## pin the packages that pyproject.toml asks for
	@$(LOCK) --extra dev -o requirements-dev.txt
	@$(LOCK) --constraint requirements-dev.txt -o requirements.txt
	@$(LOCK) --constraint requirements-dev.txt --extra bench -o requirements-bench.txt
	@$(LOCK) --constraint requirements-dev.txt --extra gcs -o requirements-gcs.txt
	@$(LOCK) --constraint requirements-dev.txt --extra azure -o requirements-azure.txt
	@$(LOCK) --constraint requirements-dev.txt --extra redis -o requirements-redis.txt
	@$(LOCK) --constraint requirements-dev.txt --extra otel -o requirements-otel.txt
	@$(PINS) tests/storage/servers.in -o tests/storage/servers.txt

$(VENV)/.bench: requirements-bench.txt $(DEV_STAMP)
	$(call install,requirements-bench.txt)

bench/node_modules/.package-lock.json: bench/package-lock.json
	@echo "Installing the packages of bench/package-lock.json; one is compiled, which takes a minute or two."
	@npm_config_nodedir=$$(dirname $$(dirname $$(readlink -f $$(command -v node)))) npm ci --prefix bench --silent

BENCH := $(VENV)/.bench bench/node_modules/.package-lock.json
bench: $(BENCH) ## every figure of docs/performance.md, beside peers and floors; ARGS="--help" says more; needs Node
	@$(MAKE) --no-print-directory VENV=$(SERVERS) $(SERVERS)/.servers
	@$(BIN)/python -m bench $(ARGS)

bench-images: $(BENCH) ## renditions alone, against Pillow, sharp and pyvips; needs Node
	@$(BIN)/python -m bench.images $(ARGS)

bench-servers: $(DEV_STAMP) bench/node_modules/.package-lock.json ## the servers that Coffer runs under, beside slow uploads; needs Node
	@$(BIN)/python -m bench.servers $(ARGS)

clean: ## remove the virtual environments and all caches, but no data
	rm -rf $(VENV) $(SERVERS) bench/node_modules tests/storage/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './node_modules/*' -prune -exec rm -rf {} +
