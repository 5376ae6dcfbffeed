# `make run` shows the product, `make test` proves it. Both do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each process has servers of its own. It begins where the others' tests are far away, so that those
# that compute run beside those that wait.
JOBS ?= logical
SIDE_BY_SIDE := -n $(JOBS) --maxprocesses 4 --dist worksteal

# A virtual environment that could not be finished does not stay.
.DELETE_ON_ERROR:
.PHONY: run test test-stream check unit integration e2e browser bench lock clean

run: $(VENV)/.runtime
	@exec $(BIN)/python -m events run

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# Against a real Kafka, Iceberg and Spark; Spark needs a JDK 17 or 21 (JAVA_HOME, or `java` on PATH).
test-stream: $(VENV)/.spark
	$(BIN)/python -m pytest tests/stream

check: $(VENV)/.spark
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest tests/unit tests/property

integration: $(VENV)/.dev
	$(BIN)/python -m pytest tests/integration

e2e: $(VENV)/.dev
	$(BIN)/python -m pytest tests/e2e

# The page in a real chromium; skipped with a reason where there is none.
browser: $(VENV)/.dev
	$(BIN)/python -m pytest tests/browser

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

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, and $(PYTHON) is older: \
	make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

$(VENV)/.spark: requirements-spark.txt $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-spark.txt
	@touch $@
