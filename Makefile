# make demo   the tour, in a virtual environment of its own
# make test   everything that must hold before a change lands
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint unit wheel bench lock clean
.DEFAULT_GOAL := test

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(VENV)/.ready
	$(BIN)/llm-trace demo

test: lint unit wheel

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.ready
	$(BIN)/python -m pytest

wheel: $(VENV)/.ready
	$(BIN)/python tests/wheel/check.py

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.capture
	$(BIN)/python -m benchmarks.delivery
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/attribution.py

# The lock pins what the tests run with; write it from an environment that holds the newest of everything.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip
	build/lock/bin/python -m pip install --quiet --group dev --no-build-isolation
	build/lock/bin/python -m pip freeze --exclude llm-trace > requirements.lock

clean:
	rm -rf $(VENV) build dist
