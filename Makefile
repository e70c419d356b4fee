# Everything runs in a virtual environment that `setup` makes on the first call: .venv, or .venv-onedl with STACK=onedl.
STACK ?= default
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
# Compiling mmcv takes about 1 GB of memory per job. Python's own flags ask for debug information, which costs time (-g0
# below leaves it out). They are named because CFLAGS replaces them: without -O3 RoIAlign and NMS take many times as long.
export MAX_JOBS ?= $(shell nproc 2>/dev/null || echo 2)

VENV := $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
BIN := $(VENV)/bin
# pip would call opencv-python missing: opencv-python-headless is there instead, which needs no libGL.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-warn-conflicts
FILES := $(addprefix requirements/,build.txt $(STACK).txt hosts.txt tests.txt)
STAMP := $(VENV)/.installed

ifeq ($(filter default onedl,$(STACK)),)
$(error STACK=$(STACK) is unknown: default (mmengine, mmcv, mmdet) or onedl (the maintained fork))
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all smoke bench bench-phantom lint doctor clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22
	@echo 'STACK=onedl runs a target on the maintained fork of the hosts; PYTHON=python3.x chooses the interpreter of a new environment.'

setup: $(STAMP)  ## Make the virtual environment (the first time about ten minutes on two cores: mmcv is compiled)

# A folder without the stamp is a set-up that was interrupted: it is made anew. What pip built or fetched is in its cache.
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
	@$(BIN)/python -c 'import mmcv.ops, mmdet_ext'
	@touch $@

demo: setup  ## Draw the phantom, train a plain and a relation detector, compare them (a few minutes each)
	$(BIN)/python tools/demo.py

test: setup  ## Run the tests without the slow ones, then train a step on the onedl stack
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not slow' --cov --cov-report=term
ifeq ($(STACK),default)
	$(MAKE) smoke STACK=onedl
endif

test-all: setup  ## Run every test, the slow ones too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

smoke: setup  ## Build every config and train a step of the relation detector
	OMP_NUM_THREADS=1 $(BIN)/python tests/host_smoke.py

lint: setup  ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## Measure speed and memory beside textbook forms and plain detectors (some minutes on a quiet machine)
	$(BIN)/python tools/analysis_tools/benchmark.py

bench-phantom: setup  ## Tune and compare the detectors on the chest phantom with three seeds (over an hour on two cores)
	$(BIN)/python tools/analysis_tools/phantom_benchmark.py --readme README.md

# Not after `setup`: it is there to tell why the set-up fails.
doctor:  ## Report versions and problems of the environment, each with its fix
	@if [ -x $(BIN)/python ]; then $(BIN)/python tools/check_env.py; else $(PYTHON) tools/check_env.py; fi

clean:  ## Remove the virtual environments, caches and build products
	rm -rf .venv .venv-onedl build dist mmdet_ext.egg-info mmdet_ext/.mim .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
