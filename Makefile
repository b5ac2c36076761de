# Every target makes its own .venv: python3 (3.11 or newer) and make are all a fresh machine needs.
PYTHON ?= python3
PORT ?= 2024
BIN := .venv/bin
SYNC := UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 $(BIN)/uv sync --quiet --frozen --inexact --python $(BIN)/python

.PHONY: install run test oldest lint typecheck bench faults fuzz load soak audit
.DEFAULT_GOAL := run

install: .venv/.installed

.venv/.uv:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Threadline needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13'
	touch $@

.venv/.installed: pyproject.toml uv.lock | .venv/.uv
	$(SYNC) --no-dev
	touch $@

.venv/.tools: pyproject.toml uv.lock | .venv/.uv
	$(SYNC) --all-groups
	touch .venv/.installed $@

run: .venv/.installed
	$(BIN)/threadline serve --port $(PORT)

test: lint typecheck
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The core of the suite on the oldest versions that pyproject.toml allows.
oldest: .venv/.oldest
	.venv/oldest/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile tests/graph tests/contract tests/api

.venv/.oldest: pyproject.toml | .venv/.uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/oldest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --group dev --output-file .venv/oldest/requirements.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python .venv/oldest/bin/python --requirements .venv/oldest/requirements.txt
	$(BIN)/uv pip install --quiet --python .venv/oldest/bin/python --no-deps --editable .
	touch $@

lint: .venv/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: .venv/.tools
	$(BIN)/mypy

bench: .venv/.tools
	$(BIN)/python -m benchmarks.service

faults: .venv/.tools
	$(BIN)/python -m tests.faults $(FAULTS)

fuzz: .venv/.tools
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-100} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} $(BIN)/python -m pytest tests/hostile --timeout 1800
	$(BIN)/python -m tests.hostile.stalls

load: .venv/.tools
	$(BIN)/python -m benchmarks.service --only idle --only hostile

soak: .venv/.tools
	$(BIN)/python -m benchmarks.soak

# Asks a vulnerability database, so it needs the network.
audit: .venv/.tools
	$(BIN)/uv audit --frozen --preview-features audit
