# `make run` shows the product, `make test` proves it. Both do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The pip that comes with Python 3.11 takes twice as long.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Workers share one DynamoDB Local; a worker that runs out of tests takes some of another's.
JOBS ?= 3
SIDE_BY_SIDE := -n $(JOBS) --dist worksteal
# Each file stays on one worker, and the files that use Spark on the same one (tests/conftest.py);
# those that take longest come first.
# They wait more than they compute, so there are more workers than cores.
FILE_BY_FILE := -n 4 --dist loadfile --no-loadscope-reorder
# How often each `kill -9` test of `make test-slow` kills: `make test-slow KILLS=20` before a release.
KILLS ?= 3

# Keep compiled modules between processes, also where the environment turns that off: each process
# of the tests starts faster.
export PYTHONDONTWRITEBYTECODE :=

STORE_URL := $(if $(filter sqlite,$(STORE)),EVENTS_DATABASE_URL=sqlite:///.local/events.db)

# A virtual environment that could not be finished does not stay.
.DELETE_ON_ERROR:
.PHONY: run test test-slow mutants check docs bench lock clean

# `make run STORE=sqlite` needs no Java: the events are in the file .local/events.db.
run: $(VENV)/.runtime
	@$(STORE_URL) exec $(BIN)/python -m events run

# What everyone runs: minutes, on Python and make alone.
test: $(VENV)/.dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow" -p no:schemathesis

# The rest: the browser, Kafka, Iceberg, Spark, PostgreSQL, long kill loops. Needs chromium, a JDK
# 17 or 21 (JAVA_HOME, or `java` on PATH) and PostgreSQL; `.ci/run` installs them.
test-slow: $(VENV)/.spark
	EVENTS_TEST_PROFILE=thorough $(BIN)/python -m pytest $(FILE_BY_FILE) -m slow --kills $(KILLS) \
	$(patsubst %,tests/%,stream e2e store schema vendors browser cli property api unit)

# Break one rule of the code at a time: each time a test must fail.
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants

check: $(VENV)/.spark
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The pages that are generated from the code.
docs: $(VENV)/.runtime
	$(BIN)/python -m events settings > docs/settings.md
	$(BIN)/python -m events settings --env > .env.example

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# Newer versions of everything: `make lock UPGRADE=--upgrade`.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE)
lock: $(VENV)/.dev
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) requirements.in -c requirements-dev.txt -o requirements.txt
	$(LOCK) requirements-export.in -c requirements-dev.txt -o requirements-export.txt
	$(LOCK) requirements-stream.in -c requirements-dev.txt -o requirements-stream.txt
	$(LOCK) requirements-spark.in -c requirements-dev.txt -o requirements-spark.txt
	$(LOCK) requirements-flink.in -c requirements-dev.txt -o requirements-flink.txt
	$(LOCK) requirements-forecast.in -c requirements-dev.txt -o requirements-forecast.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, and $(PYTHON) is older: \
	make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip==26.3

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	$(PIP) -r requirements.txt
	@touch $@

# The tests import a small part of this: each module is compiled when it is first imported.
$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	$(PIP) --no-compile -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

$(VENV)/.spark: requirements-spark.txt $(VENV)/.dev
	$(PIP) --no-compile -r requirements-spark.txt
	@touch $@
