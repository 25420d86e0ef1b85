# Python 3.11 or newer and make are all that has to be there; the rest goes into .venv and .venv-lint.
# A pyenv shim may exist for a version that is not installed: each candidate is run.
NEWEST = for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done
PYTHON ?= $(shell $(NEWEST))
BIN := .venv/bin

# Each process starts the servers that its tests ask for, 400 MB with all of them; one file's tests stay together,
# and files are begun in the order that tests/conftest.py gives them (by themselves, those of many tests come first).
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
# The tests start hundreds of processes: without a cache each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
export MUTANTS_MINUTES

.DEFAULT_GOAL := help
.PHONY: demo test soak coverage test-floors audit fuzz quick lint mutants bench docs links generated drawing help clean
.SECONDEXPANSION:
.PRECIOUS: %.stamp %/bin/python

demo: .venv/cli.stamp ## start the demo: a page whose pictures take any size you ask for
	$(BIN)/lazycrop demo

test: .venv/test.stamp ## run every test, on real servers
	$(BIN)/python tests/servers.py
	$(PYTEST)

coverage: .venv/test.stamp ## the same, with branch coverage
	$(BIN)/python tests/servers.py
	$(PYTEST) --cov

soak: .venv/test.stamp ## break a whole deployment under clients for ten minutes (SOAK_SECONDS, SOAK_SEED, SOAK_BROKER)
	$(BIN)/python tests/servers.py
	PYTHONPATH=tests $(BIN)/python -m soak

test-floors: .venv-floors/floors.stamp ## run every test on the oldest libraries that setup.py permits
	$(BIN)/python tests/servers.py
	.venv-floors/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

audit: .venv/test.stamp ## ask the database of vulnerabilities about what is installed, and about the floors; needs a network
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip_audit --skip-editable
	$(BIN)/python tests/floors.py > .venv/floors.txt
	$(BIN)/python -m pip_audit --no-deps --disable-pip --requirement .venv/floors.txt

fuzz: .venv/fuzz.stamp ## look for inputs that break a parser (FUZZ_TARGET=sizes,png FUZZ_SECONDS=60), and keep what reaches more
	$(BIN)/python tests/fuzz/run.py

quick: .venv/test.stamp ## run what needs no server, no browser and no patience: under a minute
	$(PYTEST) --quick

lint: .venv-lint/lint.stamp ## ruff (check and format) and mypy, strict, in an environment of their own
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .
	.venv-lint/bin/mypy lazycrop $(wildcard adapters)

mutants: .venv/test.stamp ## change lines of the code and see whether a test notices (MUTANTS="--since REV", MUTANTS_MINUTES=60)
	$(BIN)/python tests/servers.py
	$(BIN)/python tests/mutants.py $(MUTANTS)

bench: .venv/bench.stamp ## measure, beside peers, and write the figures down (BENCH=--quick: in minutes)
	$(BIN)/python -m benchmarks.run $(BENCH)

docs: .venv/docs.stamp ## build the documentation as a site: docs/_build/html/index.html
	$(BIN)/python -m sphinx -W --keep-going --fresh-env -b html docs docs/_build/html

links: .venv/docs.stamp ## ask for every address that the documentation names; needs a network
	$(BIN)/python -m sphinx -b linkcheck docs docs/_build/links

generated: .venv/test.stamp drawing ## make docs/options.rst, docs/errors.rst, lazycrop/keywords.py and docs/pictures anew
	$(BIN)/python docs/make_options.py
	$(BIN)/python docs/make_errors.py
	$(BIN)/python docs/make_keywords.py
	$(BIN)/python docs/make_sheets.py

drawing: $(BIN)/python ## draw docs/pictures/architecture.svg from the imports
	$(BIN)/python docs/make_drawing.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

clean: ## remove the environments and all that was built or cached
	rm -rf .venv .venv-floors .venv-lint .bench .mutants build dist docs/_build *.egg-info
	rm -rf .coverage .coverage.* .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find lazycrop adapters tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp for each extra that is in an environment, renewed when setup.py changes or an adapter is added.
%.stamp: setup.py pyproject.toml $(wildcard adapters) | $$(@D)/bin/python
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$(*F)]'
	@touch $@

.venv-floors/floors.stamp: setup.py tests/floors.py .venv/test.stamp | .venv-floors/bin/python
	$(BIN)/python tests/floors.py > .venv-floors/floors.txt
	.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint .venv-floors/floors.txt --editable '.[test]'
	@touch $@

# Debian ships venv apart from Python; only root can add it here, else venv itself says what to install.
%/bin/python:
	@test -n "$(PYTHON)" || { echo "lazycrop needs Python 3.11 or newer; install one, or name one: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || ! command -v apt-get >/dev/null || test "$$(id -u)" != 0 || \
		{ apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $*
