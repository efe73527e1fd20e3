# SegMill. `make help` lists the recipes; each does its own set-up.
SHELL := /bin/bash
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
STAMP := .venv/.installed

# One thread a process: two threads on two busy cores can be many times slower.
export OMP_NUM_THREADS ?= 1
# Threads share their free memory: apart, they keep another half a gigabyte.
export MALLOC_ARENA_MAX ?= 2
export SAM2_BUILD_CUDA := 0
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# uv takes its packages from where pip does, so that a mirror needs to be set only once.
export UV_HTTP_TIMEOUT ?= 300

# A process a core, a file of tests at a time; in the order of the folders, since the short ones are
# the last and fill what is left.
ON_ALL_CORES := --numprocesses auto --dist loadfile --no-loadscope-reorder
# Servers that share their cores with other tests may be too slow for them. What failed is run again
# alone, and both results are printed: it counts if it fails there too.
AGAIN = $(BIN)/pytest --last-failed --last-failed-no-failures none

.DEFAULT_GOAL := help
.PHONY: help setup demo bench-gpu test test-slow test-faults lint format types check pins clean

help: ## list the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## make the environment in .venv

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

$(STAMP): requirements.txt pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip install --quiet --python .venv -r requirements.txt
	$(UV) pip install --quiet --python .venv --no-deps -e .
	@touch $@

demo: $(STAMP) ## run the whole engine on generated comic pages
	@$(BIN)/segmill demo

bench-gpu: $(STAMP) ## measure the mask generator against sam2's on a GPU (WEIGHTS=FILE PHOTOS=FOLDER)
	$(BIN)/python -m benchmarks.amg --device cuda $(if $(WEIGHTS),--weights $(WEIGHTS) --photos $(PHOTOS)) --json benchmarks/results/amg_gpu.json
	$(BIN)/python -m benchmarks.label --device cuda --json benchmarks/results/label_gpu.json

test: $(STAMP) ## the tests, but for the slow ones
	$(BIN)/pytest $(ON_ALL_CORES) -m "not slow" || $(AGAIN) -m "not slow"

test-slow: $(STAMP) ## those with real servers, clusters, browsers and kills
	$(BIN)/pytest $(ON_ALL_CORES) -m "slow and not sweep" || $(AGAIN) -m "slow and not sweep"

test-faults: $(STAMP) ## kill, starve and mislead nights by the dozen (docs/reliability.md)
	$(BIN)/pytest -m sweep

lint: $(STAMP) ## find mistakes and unformatted code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## check the types
	$(BIN)/mypy

check: lint types test test-slow ## everything that CI runs

pins: | $(UV) ## resolve pyproject.toml again into requirements.txt
	$(UV) lock --quiet --upgrade --python $(PYTHON)
	$(UV) export --quiet --no-hashes --no-annotate --no-header --no-emit-project --all-groups \
		--no-emit-package segmill -o requirements.txt

clean: ## remove the environment and everything generated
	rm -rf .venv .uv build demo-root segmill-root .mypy_cache .ruff_cache .pytest_cache .hypothesis
