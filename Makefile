# make train   the environment (once), then Adam on the bundled digits: no download
# make test    the environment (once), then the tests
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: train test test-slow mutants lint types clean
.DEFAULT_GOAL := train

# Made again whenever what it is made from changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

train: $(VENV)/.installed
	$(RUN) -m src.train optimizer=adam

test: $(VENV)/.installed
	$(RUN) -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.installed
	$(RUN) -m pytest -n 2 --dist loadfile -m slow

# Break the methods' rules on purpose: every break must fail a test.
mutants: $(VENV)/.installed
	$(RUN) -m tests.mutants

lint: $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/.installed
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
