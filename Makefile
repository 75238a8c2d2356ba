# Needs: Python 3.11 or newer with its venv module, make, a package index. See docs/reference/contract.md.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test lint bench soak fuzz crash lock clean

help:
	@echo "make demo      the whole story on this machine, then stays up (ONCE=1 ends after the story)"
	@echo "make test      every test; installs what the tests need"
	@echo "make lint      ruff, mypy --strict, the import contract"
	@echo "make bench     ratios against bare cryptography"
	@echo "make soak      20 minutes of load (DURATION=seconds): memory and latency stay flat"
	@echo "make fuzz      200,000 hostile inputs for every reader (N=1000000 for more)"
	@echo "make crash     the daemon killed at every numbered step, the database stopped, the disk filled: what was lost"
	@echo "make install   only .venv with the command gateway in it"
	@echo "make lock      pins the dependencies anew (for maintainers)"

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.developer: $(VENV)/.installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

demo: install
	$(BIN)/gateway demo $(if $(ONCE),--once)

test: $(VENV)/.developer
	sh tests/system_packages.sh
	$(BIN)/python -m pytest -n logical --dist loadfile --cov --cov-report=json:.coverage.json --cov-report= $(ARGS)
	$(BIN)/python tests/coverage_floor.py .coverage.json

lint: $(VENV)/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.developer
	$(BIN)/python -m bench

soak: $(VENV)/.developer
	$(BIN)/python -m bench._soak --seconds $(or $(DURATION),1200)

fuzz: $(VENV)/.developer
	$(BIN)/python -m tests.fuzz --executions $(or $(N),200000) $(ARGS)

crash: $(VENV)/.developer
	sh tests/system_packages.sh
	$(BIN)/python -m tests.crash $(ARGS)

lock: $(VENV)/.developer
	$(BIN)/python tests/write_locks.py

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .fuzz .coverage*
