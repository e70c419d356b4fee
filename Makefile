# Everything runs in a virtual environment that `setup` makes on the first call: .venv, or .venv-onedl with STACK=onedl.
STACK ?= default
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
# Compiling mmcv takes about 1 GB of memory per job. Python's own flags ask for debug information, which costs time (-g0
# below leaves it out). They are named because CFLAGS replaces them: without -O3 RoIAlign and NMS take many times as long.
export MAX_JOBS ?= $(shell nproc 2>/dev/null || echo 2)

VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
BIN := $(VENV)/bin
# pip would call opencv-python missing: opencv-python-headless is there instead, which needs no libGL.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-warn-conflicts
FILES := $(addprefix requirements/,build.txt $(STACK).txt hosts.txt tests.txt)
STAMP := $(VENV)/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup
# Where this package meets mmengine, mmcv and mmdet: registries, configs, training, heads, hooks.
CORE := $(addprefix tests/,test_compat.py test_registry.py test_configs.py test_golden_trace.py test_engine \
  test_models/test_roi_heads test_models/test_dense_heads test_models/test_task_modules test_models/test_losses)

ifeq ($(filter default onedl,$(STACK)),)
$(error STACK=$(STACK) is unknown: default (mmengine, mmcv, mmdet) or onedl (the maintained fork))
endif

.DEFAULT_GOAL := help
.PHONY: help setup docs demo test suite core test-all test-matrix smoke bench bench-phantom gpu zoo lint doctor drill clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22
	@echo 'STACK=onedl runs a target on the maintained fork of the hosts; PYTHON=python3.x chooses the interpreter of a new environment.'

setup: $(STAMP)  ## Make the virtual environment (the first time about ten minutes on two cores: mmcv is compiled)

# A folder without the stamp is a set-up that was interrupted: it is made anew. What pip built or fetched is in its cache.
# yapf, which the hosts write configs with, fills a cache at its first import: two tests at once would read half of it.
$(STAMP): $(FILES) requirements.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "$(PYTHON) is not Python 3.10, 3.11 or 3.12: install one of these and call make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -e $@ && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Setting up $(VENV): torch and the build tools"
	@$(PIP) -r requirements/build.txt
	@echo "Setting up $(VENV): mmengine, mmcv, mmdet (compiling mmcv takes about eight minutes, once)"
	@CFLAGS="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("CFLAGS"))') $(CFLAGS) -g0" \
	  $(PIP) --no-build-isolation --no-deps -r requirements/$(STACK).txt
	@echo "Setting up $(VENV): libraries, and this package"
	@$(PIP) -r requirements/hosts.txt -r requirements.txt -r requirements/tests.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@$(BIN)/python -c 'import mmcv.ops, mmdet_ext, yapf.yapflib.yapf_api'
	@touch $@

# An environment of its own, of seconds: docstrings are read, not imported, so the site needs no torch. With --quiet
# warnings would not count as errors.
docs: .venv-docs/.installed  ## Build the documentation: work_dirs/site/index.html, which opens from disk
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict

.venv-docs/.installed: requirements/docs.txt
	@$(PYTHON) -m venv --clear .venv-docs
	@.venv-docs/bin/python -m pip --disable-pip-version-check install --quiet -r requirements/docs.txt
	@touch $@

demo: setup  ## Draw the phantom, train a plain and a relation detector, compare them (a few minutes each)
	$(BIN)/python tools/demo.py

test: suite  ## Run the tests without the slow ones, then the core of them on the onedl stack
ifeq ($(STACK),default)
	$(MAKE) core STACK=onedl VENV=.venv-onedl
endif

suite: setup  ## Run the tests without the slow ones
	$(PYTEST) -m 'not slow' --cov --cov-report=term

core: smoke  ## Run what other versions of the hosts can break
	$(PYTEST) -m 'not slow' $(CORE)

test-matrix: setup  ## Run the suites on Python 3.10, 3.11 and 3.12 and on both stacks (hours; a missing Python is skipped)
	$(BIN)/python tools/support_matrix.py
	$(BIN)/python tools/analysis_tools/readme_tables.py

test-all: setup  ## Run every test, the slow ones too
	$(PYTEST)

smoke: setup  ## Build every config and train a step of the relation detector
	OMP_NUM_THREADS=1 $(BIN)/python tests/host_smoke.py

lint: setup  ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## Measure speed and memory beside textbook forms and plain detectors (some minutes on a quiet machine)
	$(BIN)/python tools/analysis_tools/benchmark.py

gpu: setup  ## Run on a GPU what needs one: tests, speed and memory, mixed precision
	$(BIN)/python tools/gpu_evidence.py

bench-phantom: setup  ## Tune and compare the detectors on the chest phantom with three seeds (over an hour on two cores)
	$(BIN)/python tools/analysis_tools/phantom_benchmark.py --readme README.md

zoo: setup  ## Train, test and publish the small models, and write their tables (hours on two cores; goes on where it was)
	$(BIN)/python tools/zoo.py

drill: setup  ## Kill and starve trainings and feed bad files to readers (half an hour; disk and mount cases want root)
	OMP_NUM_THREADS=1 $(BIN)/python tools/drill.py

# Not after `setup`: it is there to tell why the set-up fails.
doctor:  ## Report versions and problems of the environment, each with its fix
	@if [ -x $(BIN)/python ]; then $(BIN)/python tools/check_env.py; else $(PYTHON) tools/check_env.py; fi

clean:  ## Remove the virtual environments, caches and build products
	rm -rf .venv .venv-* build dist mmdet_ext.egg-info mmdet_ext/.mim .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
