# make demo   the tour, in a virtual environment of its own
# make test   everything that must hold before a change lands
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The programs that tests start shall find their modules compiled.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test browser test-servers test-spark test-ray test-clients test-old-sdks ridden lint collection unit wheel bench lock clean
.DEFAULT_GOAL := test

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(VENV)/.ready
	$(BIN)/llm-trace demo

# mypy takes one core, the other is free meanwhile; what each says comes in one piece.
test: $(VENV)/.ready
	$(MAKE) --jobs=2 --output-sync=target lint collection wheel
	$(MAKE) unit

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/circles.py

# Two workers must see the same tests, whatever the clock and the hash seed are.
collection: $(VENV)/.ready
	$(BIN)/python tests/collection.py

unit: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope

wheel: $(VENV)/.ready
	$(BIN)/python tests/wheel/check.py

# What the tests in a real browser need, Debian's Chromium included; without it they are skipped.
browser: $(VENV)/.ready
	command -v chromium > /dev/null || { apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends chromium; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-browser.lock

# Sends to real Phoenix and MLflow servers on loopback and reads back; installs about 2 GB into build/servers.
test-servers: $(VENV)/.ready
	test -x build/servers/bin/phoenix || { $(PYTHON) -m venv build/servers && build/servers/bin/python -m pip install --quiet arize-phoenix mlflow; }
	LLM_TRACE_SERVERS=$(CURDIR)/build/servers/bin $(BIN)/python -m pytest tests/servers

# Attribution of many calls on a real Ray of this machine; installs 250 MB into build/ray.
test-ray: $(VENV)/.ready
	test -d build/ray || $(BIN)/python -m pip install --quiet --no-deps --target build/ray ray msgpack
	PYTHONPATH=$(CURDIR)/build/ray $(BIN)/python -m pytest tests/attribution/test_ray.py

# Lets Langfuse's and Opik's own clients ask the stand-ins that `llm-trace attach` is tested with.
test-clients: $(VENV)/.ready
	test -d build/clients || $(BIN)/python -m pip install --quiet --no-deps --target build/clients langfuse==5.0.4 opik==2.2.122 backoff uuid6
	PYTHONPATH=$(CURDIR)/build/clients $(BIN)/python -m pytest tests/platforms/test_own_clients.py

# A local Spark, which needs Java 17 or later, reads a lake and is compared; installs 0.5 GB into build/spark.
test-spark: $(VENV)/.ready
	test -x build/spark/bin/python || { $(PYTHON) -m venv build/spark && build/spark/bin/python -m pip install --quiet pyspark; }
	LLM_TRACE_SPARK=$(CURDIR)/build/spark/bin/python $(BIN)/python -m pytest tests/spark

# The contract of integrations with the oldest supported versions of OpenAI's and Anthropic's SDKs.
test-old-sdks: $(VENV)/.ready
	test -d build/old-sdks || $(BIN)/python -m pip install --quiet --target build/old-sdks openai==1.40.0 anthropic==0.40.0 'httpx<0.28'
	PYTHONPATH=$(CURDIR)/build/old-sdks $(BIN)/python -m pytest tests/instrumentation/test_contract.py

# Real programs of the libraries that others instrument, each in an environment of its own that is removed
# afterwards (at most 2 GB at a time); LIBRARIES="dspy crewai" takes these alone.
ridden: $(VENV)/.ready
	$(BIN)/python -m benchmarks.ridden $(LIBRARIES)

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.capture
	$(BIN)/python -m benchmarks.instrumented
	$(BIN)/python -m benchmarks.delivery
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/attribution.py

# The lock pins what the tests run with; write it from an environment that holds the newest of everything.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip
	build/lock/bin/python -m pip install --quiet torch==2.13.0 editables hatchling
	build/lock/bin/python -m pip install --quiet --no-build-isolation --editable ".[local,dataframe,statistics,phrases,otlp,collect,comet,view]" --group dev
	echo "# Written by 'make lock'. torch has no build tag, so that a CPU build satisfies it." > requirements.lock
	build/lock/bin/python -m pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+.*/\1/' >> requirements.lock

clean:
	rm -rf $(VENV) build dist
