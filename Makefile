# Two commands from a bare clone: `make demo` and `make test`. Both set everything up first; the second time is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow check format clean help

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

demo: $(READY)  ## train the demo student offline, in two to three minutes
	$(BIN)/rl-distill demo

test: $(READY)  ## the test suite, without the slow tests
	$(BIN)/python -m pytest

test-slow: $(READY)  ## the slow tests
	$(BIN)/python -m pytest -m slow

check: $(READY)  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment; runs are kept
	rm -rf $(VENV) build *.egg-info

# torch goes first and alone: a bare requirement could pull gigabytes that a CPU has no use for.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing; a few minutes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[offline,dev]'
	touch $@
