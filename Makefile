# One command each: `make demo`, `make test`, `make check`, `make bench`. Each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

export PYTHONWARNINGS ?= default
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

.PHONY: help demo test check bench docs format clean

help:
	@echo "make demo    set up, start the platform, run a real pipeline on it, show the result"
	@echo "make test    set up, run all tests"
	@echo "make check   lint, types, layers, budgets, documentation drift"
	@echo "make bench   measure, each figure beside a peer"
	@echo "make format  format the code; make docs: write the generated pages again"

# The environment follows the lock file; uv comes from PyPI where the machine has none.
$(VENV)/.complete: pyproject.toml uv.lock scripts/setup hatch_build.py src/ketch/local/apiserver/schemas/extraction.py
	@PYTHON="$(PYTHON)" sh scripts/setup $(VENV)
	@touch $@

demo: $(VENV)/.complete
	@KEEP="$(KEEP)" PORT="$(PORT)" sh scripts/demo $(RUN)

# Whole files go to one worker each: what a file's tests share is made once.
test: $(VENV)/.complete
	$(RUN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(VENV)/.complete
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/basedpyright
	$(RUN)/lint-imports
	$(RUN)/python -m scripts.generate --check
	$(RUN)/pytest -q tests/house

bench: $(VENV)/.complete
	@$(RUN)/python -m benchmarks $(ARGS)

format: $(VENV)/.complete
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

docs: $(VENV)/.complete
	$(RUN)/python -m scripts.generate

clean:
	rm -rf $(VENV) .bootstrap dist .pytest_cache .ruff_cache .import_linter_cache
