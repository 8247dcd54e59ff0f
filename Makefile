# The command contract. Each target does its own set-up; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run demo test test-journeys test-slow check format base-model contracts-tools contracts contracts-check contracts-prove contracts-slither bench screenshots clean

SHELL := /bin/bash
VENV := .venv
PYTHON := $(VENV)/bin/python
ANVIL := rewards/contracts/node_modules/.package-lock.json
# One thread for every numeric library: two cores serve seven processes.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

setup: $(VENV)/.ready $(ANVIL) ## virtual environment, dependencies, local chain

$(VENV)/bin/uv:
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

# torch comes first and through pip: by exactly this version it finds the CPU wheel where one is offered.
$(VENV)/.ready: requirements.txt | $(VENV)/bin/uv
	$(VENV)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) -r requirements.txt
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) -r requirements-dev.txt
	@touch $@

# npm 11 refuses the install script of the binary; the binary itself is inside the package.
$(ANVIL): rewards/contracts/package-lock.json
	npm ci --prefix rewards/contracts --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

setup-dev: setup $(VENV)/.ready-dev ## what tests and linters need, Debian's chromium included
	@bash e2e/setup.sh

run: setup ## the empty site; Ctrl-C stops everything
	@$(PYTHON) -m openledger_site.core.local.run

demo: ## the whole loop on shipped data, then the running site; ONCE=1 stops after the loop
	@began=$$(date +%s.%N); $(MAKE) --no-print-directory setup || exit 1; \
	SETUP_SECONDS=$$(echo "$$(date +%s.%N) - $$began" | bc) EARNINGS_HOLDING_SECONDS=2 CALIBRATE_ON_PUBLISH=0 \
	$(PYTHON) -m openledger_site.core.local.run $(if $(ONCE),--once) --drive $(abspath $(PYTHON)) -m e2e.demo

# Two processes share nothing (openledger_site/core/tests/own_folder.py); tests wait as often as they
# compute.
test: setup-dev ## the suite, under a quarter of an hour on two cores
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m "not slow and not e2e"

# Each site runs seven processes, so nothing runs beside a journey. Those of attribution publish a model
# of the same name, and votes last seconds in theirs, so both have a site of their own. What kills a
# site comes last and alone.
test-journeys: setup-dev ## whole sites in a browser, as people use them; another quarter of an hour
	$(PYTHON) -m pytest e2e/test_thread.py e2e/test_pages.py e2e/test_live.py e2e/test_agents.py
	$(PYTHON) -m pytest e2e/test_attribution.py
	$(PYTHON) -m pytest e2e/test_governance.py
	$(PYTHON) -m pytest e2e/test_stakes.py
	$(PYTHON) -m pytest e2e/test_gasless.py
	$(PYTHON) -m pytest e2e/test_must_hold.py

test-slow: setup-dev ## what needs more than a minute a test
	$(PYTHON) -m pytest -m slow

check: setup-dev ## format, lint, types, imports, migrations, deploy check, contracts, the suite, the journeys
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	git ls-files 'templates/*.html' | xargs $(VENV)/bin/djade --check --target-version 5.2
	$(VENV)/bin/lint-imports
	$(PYTHON) manage.py makemigrations --check --dry-run
	DEBUG=0 SECRET_KEY=$$(head -c 48 /dev/urandom | base64) $(PYTHON) manage.py check --deploy --fail-level WARNING
	$(PYTHON) -m mypy .
	$(MAKE) --no-print-directory contracts-check
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory test-journeys

format: setup-dev ## put the code into shape
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .
	git ls-files 'templates/*.html' | xargs $(VENV)/bin/djade --target-version 5.2

base-model: setup ## build the embedded base model again from its corpus (about an hour)
	$(PYTHON) -m modelfactory.training.base_model.build

# Compiler, OpenZeppelin and forge come from npm; the site itself needs only the committed artifacts.
contracts-tools: setup-dev
	npm ci --prefix rewards/contracts --ignore-scripts --no-audit --no-fund --loglevel=error

contracts: contracts-tools ## compile the contracts, write their artifacts, run their forge tests
	npm run --prefix rewards/contracts build
	npm test --prefix rewards/contracts

contracts-check: contracts-tools ## the committed artifacts are what the sources compile to; forge tests
	cd rewards/contracts && ./build.sh --check
	FORGE_SNAPSHOT_CHECK=true npm test --prefix rewards/contracts

contracts-prove: contracts-tools ## halmos on every check_, each invariant by 128,000 calls (ten minutes)
	test -d .local/halmos || python3 -m venv .local/halmos
	.local/halmos/bin/pip install --quiet --disable-pip-version-check -r rewards/contracts/requirements-halmos.txt
	HALMOS=$(abspath .local/halmos) rewards/contracts/prove.sh

contracts-slither: contracts-tools ## static analysis of the contracts; fails on medium and high (two minutes)
	test -d .local/slither || python3 -m venv .local/slither
	.local/slither/bin/pip install --quiet --disable-pip-version-check -r rewards/contracts/requirements-slither.txt
	SLITHER=$(abspath .local/slither) rewards/contracts/slither.sh

bench: setup ## measure the base model; others: python -m bench NAME --json OUT
	$(PYTHON) -m bench base --json docs/benchmarks/base.json

screenshots: setup-dev ## the pictures in docs/images, from the running demo
	$(PYTHON) -m e2e.screenshots

clean: ## forget the local database, chain, files and logs (asks first)
	@read -p "Delete .local with its database and chain? [y/N] " answer && [ "$$answer" = y ] && rm -rf .local
