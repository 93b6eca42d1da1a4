# AR&D Explorer. The commands a person needs: make demo, make test. `make help` lists the others.

SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
RUN ?= data/runs/demo
# Set by `make test-full`: the fault, load and property tests then run at their full counts.
ARD_FULL ?=
PYTEST_ARGS ?=

.PHONY: help demo setup peers browser test test-full check format bench
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up, run the pipeline on the embedded demo, open http://127.0.0.1:7860"
	@echo "make setup      .venv with the pinned dependencies"
	@echo "make test       every test, reduced counts (what CI runs)"
	@echo "make test-full  every test, full counts"
	@echo "make check      format, lint, types, import rules"
	@echo "make format     let ruff mend what it can"
	@echo "make peers      .venv-peers with the libraries we compare with"
	@echo "make bench      every benchmark, results in benchmarks/results/"

demo: setup
	$(PY) -m precompute run --preset demo --run $(RUN)
	$(PY) app.py --run $(RUN)

setup: $(STAMP)

# One stamp: nothing runs when neither the lock nor this virtual environment changed.
$(STAMP): requirements.lock
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 or newer was found: install one, or name it with 'make setup PYTHON=/path/to/python3'."; exit 2; }
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV) with $(PYTHON)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { echo "Python could not make a virtual environment: install its venv module (Debian: apt-get install python3-venv)."; exit 2; }; }
	@echo "Installing the pinned dependencies (some minutes, once)"
	@$(PY) -m pip install --disable-pip-version-check -r requirements.lock
	@$(PY) -W ignore -c "import umap"  # compiles its kernels once, here and not in the first run
	@$(PY) -c "from ard import compile_kernels; compile_kernels.run()"  # the same for ours
	@touch $(STAMP)

# The libraries we compare with, apart from our own: benchmarks and format tests run them as another process.
peers: $(PEERS_STAMP)

$(PEERS_STAMP): benchmarks/peers.lock $(STAMP)
	@$(PEERS)/bin/python -m pip --version >/dev/null 2>&1 || $(PY) -m venv --clear $(PEERS)
	@echo "Installing the peers into $(PEERS) (some minutes, once)"
	@$(PEERS)/bin/python -m pip install --disable-pip-version-check --no-deps -r benchmarks/peers.lock
	@touch $(PEERS_STAMP)

browser: setup
	@$(PY) -m tests.browser.ensure_browser

check: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: setup
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

test: setup browser check
	ARD_FULL=$(ARD_FULL) $(PY) -m pytest $(PYTEST_ARGS)

test-full:
	$(MAKE) test ARD_FULL=1

bench: setup peers
	@found=0; for f in benchmarks/bench_*.py; do [ -e "$$f" ] || continue; found=1; echo "== $$f"; $(PY) "$$f" || exit 1; done; \
	  [ $$found = 1 ] || { echo "There is no benchmark: benchmarks/bench_*.py is what this command runs."; exit 2; }
	@$(PY) benchmarks/table.py
