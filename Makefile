# Everything is installed into .venv and a cache folder; a machine with Python >= 3.11, git and make is enough.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
SOURCES := operator tests

.PHONY: help demo test test-slow unit check lint format bench bench-scale faults requirements test-oldest lock clean

help: ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt pyproject.toml
	@echo "setting up $(VENV) ..." >&2
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed, $(PYTHON) is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: $(READY) ## Run the main job end to end on a real API server and real Ray (KEEP=1: leave it running).
	@$(BIN)/python -m tests.localcluster.demo $(if $(KEEP),--keep)

test: $(READY) ## Run the tests, but for those that take minutes.
	@$(BIN)/python -m tests.localcluster prepare
	@$(BIN)/python -m pytest -m 'not slow' $(ARGS)

test-slow: $(READY) ## Run the tests that take minutes.
	@$(BIN)/python -m tests.localcluster prepare
	@$(BIN)/python -m pytest -m slow $(ARGS)

unit: $(READY) ## Run the unit tests only (no cluster, no Ray).
	@$(BIN)/python -m pytest tests/unit $(ARGS)

check: lint unit ## The fast loop: lint and unit tests.

lint: $(READY) ## Check style, types and the direction of imports.
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## Format the sources.
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: $(READY) ## Measure the digest of logs, the Ray client beside Ray's own, and the controller.
	@$(BIN)/python -m tests.bench.digest
	@$(BIN)/python -m tests.localcluster prepare
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.verdict
	@$(BIN)/python -m tests.bench.scale
	@$(BIN)/python -m tests.faults.frozen

bench-scale: $(READY) ## Measure the controller among many jobs (ARGS="moving --jobs 100"; ARGS=--help).
	@$(BIN)/python -m tests.localcluster prepare
	@$(BIN)/python -m tests.bench.scale $(ARGS)

faults: $(READY) ## Have many things go wrong and look for what is told wrong (SEED=7 ARGS="--seeds 20 --side-by-side 3").
	@$(BIN)/python -m tests.localcluster prepare
	@$(BIN)/python -m tests.faults $(or $(SEED),1) $(ARGS)

requirements: $(READY) ## Show which test checks which requirement of the Ray client.
	@$(BIN)/python -m tests.requirements

test-oldest: $(READY) ## Run the Ray client's tests against the oldest supported Ray.
	@$(BIN)/python -m tests.ray.oldest $(ARGS)

lock: $(READY) ## Renew the lock files.
	@$(LOCK) pyproject.toml --all-extras --group dev -o requirements/dev.txt
	@$(LOCK) pyproject.toml --extra operator -o requirements/operator.txt
	@$(LOCK) --group build -o requirements/build.txt
	@for name in ray ray-oldest go; do \
		$(LOCK) tests/localcluster/$$name-requirements.in -o tests/localcluster/$$name-requirements.txt; \
	done
	@$(LOCK) tests/failures/requirements.in -o tests/failures/requirements.txt

clean: ## Remove what was installed into the checkout.
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
