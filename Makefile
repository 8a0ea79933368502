# make train   the environment (once), then Adam on the bundled digits: no download
# make test    the environment (once), then the tests
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: train test test-slow test-cluster coverage mutants mutants-fixed mutants-methods lint types clean
.DEFAULT_GOAL := train

# Made again whenever what it is made from changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

train: $(VENV)/.installed
	$(RUN) -m src.train optimizer=adam

# Whole files to each of two workers, in the order that tests/conftest.py gives them.
SHARED := -n 2 --dist loadfile --no-loadscope-reorder
# Compiled tests are kept, whatever the environment says: to rewrite their asserts takes each worker
# 8 s.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(RUN) -m pytest

test: $(VENV)/.installed
	$(PYTEST) $(SHARED)

test-slow: $(VENV)/.installed
	$(PYTEST) $(SHARED) -m slow

# Slurm, Ray and PostgreSQL on loopback; skipped where they are missing, an error where CI is set.
# Each cluster has a worker of its own: while one waits for a node, the other's sweeps go on.
# Without dependencies: those of Ray's launcher on Amazon's cloud want an older python-dateutil.
LAUNCHERS := hydra-(joblib|ray|submitit)-launcher|msgpack|ray|submitit
$(VENV)/.cluster: $(VENV)/.installed
	grep -E "^($(LAUNCHERS))==" constraints.txt | xargs $(RUN) -m pip install --quiet --no-deps
	touch $@

test-cluster: $(VENV)/.cluster
	$(PYTEST) -n 2 --dist loadgroup -m cluster -rs tests/cluster

# What the tests run, by branch; which test runs which line is what `make mutants` reads.
# After some tests were changed: make coverage TESTS=tests/comparing adds those.
COVERAGE := $(CURDIR)/outputs/coverage
TESTS ?= tests
coverage: $(VENV)/.installed
	$(if $(filter tests,$(TESTS)),rm -rf $(COVERAGE))
	mkdir -p $(COVERAGE)
	COVERAGE_FILE=$(COVERAGE)/.coverage COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml \
	$(RUN) -m pytest $(SHARED) --cov --cov-context=test --cov-report=term \
	--cov-report=html:$(COVERAGE)/html --junitxml=$(COVERAGE)/$(notdir $(TESTS)).xml \
	$(if $(filter tests,$(TESTS)),,--cov-append) $(TESTS)

# Break the code on purpose, everywhere in ONLY: tests must notice. An interrupted call goes on.
mutants: $(VENV)/.installed
	$(RUN) -m tests.mutants $(ONLY)

# Those written by hand, each of which must be caught; .ci/run asks for the first.
mutants-fixed: $(VENV)/.installed
	$(RUN) -m tests.mutants --fixed

mutants-methods: $(VENV)/.installed
	$(RUN) -m tests.mutants --methods

lint: $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/.installed
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
