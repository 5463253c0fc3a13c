# What a developer types. Everything lives in .venv; nothing is installed outside this folder.
.DEFAULT_GOAL := help
.PHONY: help setup fmt check test test-slow test-ha run bench openapi revision

# The first Python on the path that will do.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
export UV_PROJECT_ENVIRONMENT := .venv
export VIRTUAL_ENV := $(CURDIR)/.venv
export UV_PYTHON_DOWNLOADS := never
# Trust what the machine trusts, as pip does: offices have certificate authorities of their own.
export UV_SYSTEM_CERTS := true
# Containers often forbid Python to keep what it compiled; then each process of `banjie`, and of the
# tests hundreds, compiles everything anew: most of what a start costs.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

# The lock's versions and hashes, from the index that pip uses here: `uv sync` would go to the
# addresses written in the lock, which an office behind a mirror cannot reach.
INDEX = index=$$($(BIN)/python -m pip config get global.index-url 2>/dev/null); \
	[ -z "$$index" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$index}";

help: ## Tell what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.made ## Make .venv with exactly the locked packages

# Stamped with the lock: a changed lock is installed by whatever is made next.
.venv/.made: pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed (需要 Python 3.11 至 3.13)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	$(BIN)/uv export --frozen --quiet --no-emit-project --output-file .venv/locked.txt
	@$(INDEX) $(BIN)/uv pip install --quiet --require-hashes --requirement .venv/locked.txt
	@$(INDEX) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

fmt: setup ## Format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup ## Everything that needs no run: format, lint, types, arrows, rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/banjie rules check

test: setup ## Run the everyday tests (some minutes)
	$(BIN)/pytest --numprocesses auto --dist worksteal -m "not ha and not slow"

test-slow: setup ## Run the others: processes, browsers, storms (as long again)
	$(BIN)/pytest --numprocesses auto --dist worksteal -m "slow and not ha"

test-ha: setup ## Kill databases and replicas, and see that nothing is lost (some minutes)
	$(BIN)/pytest -m ha -s tests/ha

run: setup ## Serve on http://127.0.0.1:8000 with users and tickets to play with
	$(BIN)/banjie serve --demo

bench: setup ## Measure, each figure as a ratio to a limit of the same run
	$(BIN)/python -m bench

openapi: setup ## Write openapi.yaml from the application
	$(BIN)/banjie openapi > openapi.yaml

revision: setup ## Write a migration from the tables: make revision m="why"
	$(BIN)/python -m service.store.migrations "$(m)"
