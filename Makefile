# Everything runs inside .venv; PYTHON is used once, to make it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test test-all test-condor lint format lock docs clean

install: .venv/.installed

.venv/.installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "oddjet needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv .venv
	@echo 'Packages of some GB are installed now, in silence: minutes.'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: install
	$(BIN)/oddjet demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers auto
	$(BIN)/repo-review .

# A file's tests stay in one process: their fixtures are made once. The longest files come first.
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations 20

test: lint
	$(PYTEST) -m "not slow and not htcondor"

test-all: lint
	$(PYTEST) -m "not htcondor"

# On a submit machine of an HTCondor pool: these tests submit jobs.
test-condor: install
	$(BIN)/pytest -m htcondor

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is installed now becomes the lock: names and versions only, and no build tag of the machine.
lock:
	$(BIN)/python -m pip list --format=freeze --exclude oddjet --exclude pip --exclude setuptools \
	| sed 's/+cpu$$//' > requirements.lock

# The API reference, with README, pages and notebooks, in one folder that needs no network.
docs: install
	$(BIN)/python -m analysis.reference output/docs

clean:
	rm -rf .venv output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
