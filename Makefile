# Python 3.11 or newer and make are all that has to be there; the rest goes into .venv.
# A pyenv shim may exist for a version that is not installed: each candidate is run.
NEWEST = for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done
PYTHON ?= $(shell $(NEWEST))
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: demo test lint bench docs help clean

demo: .venv/cli.stamp ## start the demo: a page whose pictures take any size you ask for
	$(BIN)/lazycrop demo

test: .venv/test.stamp ## run every test, on real servers, with branch coverage
	$(BIN)/python tests/servers.py
	$(BIN)/python -m pytest --cov

lint: .venv/test.stamp .venv/lint.stamp ## ruff (check and format) and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy lazycrop $(wildcard adapters)

bench: .venv/bench.stamp ## measure, beside peers, and write the figures down (BENCH=--quick: in minutes)
	$(BIN)/python -m benchmarks.run $(BENCH)

docs: .venv/test.stamp ## make docs/options.rst, lazycrop/keywords.py and the pictures in docs/pictures anew
	$(BIN)/python docs/make_options.py
	$(BIN)/python docs/make_keywords.py
	$(BIN)/python docs/make_sheets.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

clean: ## remove .venv and all that was built or cached
	rm -rf .venv .bench build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find lazycrop adapters tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# One environment; a stamp for each extra that is in it, renewed when setup.py changes or an adapter is added.
.venv/%.stamp: setup.py pyproject.toml $(wildcard adapters) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# Debian ships venv apart from Python; only root can add it here, else venv itself says what to install.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "lazycrop needs Python 3.11 or newer; install one, or name one: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || ! command -v apt-get >/dev/null || test "$$(id -u)" != 0 || \
		{ apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv; }
	$(PYTHON) -m venv .venv
