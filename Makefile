# make demo    the example pipeline on a real Airflow and a local AWS endpoint; Ctrl-C ends it
#              ONCE=1 ends after the run; CONF='{"AccuracyThreshold": 0.99}' sets parameters of the run
# make test    the whole test suite; it needs PostgreSQL's server binaries
# make lint    ruff and mypy
# make bench   the benchmarks beside the Amazon provider's operators, into docs/benchmarks.md: about 55 minutes
#              PARTS=waiting runs one of them; QUICK=1 makes all of them small
# make soak    200 pipeline runs with faulty answers and kill -9 of workers and triggerers; it needs PostgreSQL
#              SEED=7 RUNS=1000 MINUTES=90 make another and longer one; after MINUTES what has not ended is stuck
# make clean   removes the environment and everything that was made
#
# Nothing has to be prepared: the environment is made in .venv by the first Python >= 3.11 found, or by
# PYTHON=/path/to/python.

VENV := .venv
# The other side of the benchmarks waits with aiobotocore, which allows few versions of boto3.
BENCH := .venv-bench
# The tested set of versions; .ci/oldest.txt has the oldest supported Airflow.
CONSTRAINTS := constraints.txt
# What `make test` runs; everything by default.
TESTS :=
BIN := $(VENV)/bin
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
# The versions that constraints.txt is tested with come first.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	if $$python -c '$(SUITABLE)' >/dev/null 2>&1; then echo $$python; break; fi; done)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)

.PHONY: demo test lint bench soak clean
.DEFAULT_GOAL := demo

demo: $(VENV)/demo.stamp
	@exec $(BIN)/python -m airflow_sagemaker_pipelines.local.demo \
		$(if $(filter-out 0,$(ONCE)),--once) $(if $(CONF),--conf '$(CONF)')

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(TESTS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m tests.bench.run $(PARTS) $(if $(filter-out 0,$(QUICK)),--quick)

soak: $(VENV)/dev.stamp
	$(BIN)/python -m tests.soak $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) $(if $(MINUTES),--minutes $(MINUTES))

clean:
	rm -rf $(VENV) .venv-oldest $(BENCH) .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/venv.stamp:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with its venv module found. Name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c '$(SUITABLE)' || { echo "$(PYTHON) is not a Python >= 3.11 with its venv module." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/venv.stamp pyproject.toml $(CONSTRAINTS)
	@echo "Installing into $(VENV), once; this takes a minute or two."
	$(INSTALL) -e '.[demo]'
	@touch $@

# What the tests need contains what the demo needs.
$(VENV)/dev.stamp: $(VENV)/venv.stamp pyproject.toml $(CONSTRAINTS)
	@echo "Installing into $(VENV), once; this takes a minute or two."
	$(INSTALL) -e '.[dev]'
	@touch $(VENV)/demo.stamp $@

$(BENCH)/bench.stamp: pyproject.toml $(CONSTRAINTS) tests/bench/requirements.txt
	@echo "Installing into $(BENCH), once; this takes a minute or two."
	$(PYTHON) -m venv --clear $(BENCH)
	sed -E '/^(boto3|botocore|s3transfer)(-stubs)?==/d' $(CONSTRAINTS) > $(BENCH)/constraints.txt
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c $(BENCH)/constraints.txt \
		-e '.[local]' -r tests/bench/requirements.txt
	@touch $@
