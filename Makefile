# depin-id: everything that is run by hand or by the build machine. `make help` lists it.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
PIP_TOOLS := pip-tools==7.6.2
LOCK := build/lock
# Processes: one for each core, four at most; one more for tests, which often wait for others.
JOBS := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((n > 4 ? 4 : n)))
WORKERS := $(shell echo $$(($(JOBS) + 1)))
FIRMWARE := firmware_bridge/firmware
TYPED := src/depin_id src/verify firmware_bridge examples bench tests

# Hundreds of processes begin in a run: what one has compiled is kept for the next.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env apt lint format types unit test demo lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

env: ## make or refresh .venv (does nothing when it is up to date)
	@PYTHON="$(PYTHON)" bash ci/build_env.sh

apt: ## install missing system packages where that is possible
	@bash ci/apt_packages.sh

lint: env ## ruff: rules and layout, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env ## ruff: put rules and layout right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: env ## mypy --strict
	$(BIN)/mypy --strict $(TYPED)

unit: env apt ## pytest, with ARGS="..." for a selection
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q --durations=15 \
		-p no:cacheprovider $(ARGS)

# Fetched beside the first tests, or whichever test needs it first would wait for it. Without it the
# tests that need it fail and say so.
.PHONY: monocypher
monocypher: env
	-@$(BIN)/python $(FIRMWARE)/tools/fetch_monocypher.py $(FIRMWARE)/build/monocypher

test: ## everything the build machine checks
	@$(MAKE) --no-print-directory env
	@$(MAKE) --no-print-directory apt
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j 3 monocypher types unit
	@$(MAKE) --no-print-directory fuzz TARGETS=all SECONDS=30

demo: env ## a small network on this machine; DATA=folder replays a recording
	$(BIN)/depin-verify demo $(if $(DATA),--data "$(DATA)")

.PHONY: bench
bench: env apt ## measure, as ratios within one run; ARGS="--quick" or "--only NAME"
	$(BIN)/python -m bench $(ARGS)

.PHONY: fuzz audit
fuzz: env ## fuzz decoders: SECONDS for each target, TARGETS="cbor note", or "all" in one process
	$(BIN)/python -m tests.fuzz --jobs $(JOBS) --seconds $(or $(SECONDS),60) $(TARGETS) $(ARGS)

.PHONY: faults
faults: env apt ## kill -9 of aggregator and bridge, TIMES each (100); ARGS="--what bridge --seed 7"
	$(BIN)/python -m tests.faults.kills --times $(or $(TIMES),100) $(ARGS)

audit: env ## pins, hashes, licences, and known vulnerabilities where their service answers
	$(BIN)/python ci/audit.py --online

lock: ## choose versions anew: requirements/dev.txt (with hashes) and constraints.txt
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip install --quiet $(PIP_TOOLS)
	PYTHON="$(LOCK)/bin/python" bash ci/lock.sh $(ARGS)

clean: ## remove everything that was made here
	rm -rf .venv .bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
