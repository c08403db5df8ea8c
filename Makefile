# make report   all seven notebooks, headless, then the report (HTML and PDF)
# make test     every test, and the notebooks themselves
# make lab      JupyterLab on the notebooks
# Choose with PROFILE=smoke|quick|laptop|paper and CORPUS=pocket|tinystories|path.

PROFILE ?= quick
CORPUS ?= pocket
PYTHON ?= python3

BIN := .venv/bin
READY := .venv/ready
NBVAL_ROOT := build/nbval

.PHONY: report test lint unit-tests notebook-tests lab lock

report: $(READY)
	@$(BIN)/python -m pn_lib run --profile "$(PROFILE)" --corpus "$(CORPUS)"

test: lint unit-tests notebook-tests

lint: $(READY)
	$(BIN)/ruff check .

unit-tests: $(READY)
	$(BIN)/pytest

# In order, in one process: each notebook reads what the ones before it wrote, away from your own runs.
notebook-tests: $(READY)
	rm -rf $(NBVAL_ROOT)
	CI=true PN_ROOT="$(CURDIR)/$(NBVAL_ROOT)" PN_PROFILE=smoke PN_CORPUS=pocket \
	    $(BIN)/pytest --nbval-lax --nbval-current-env --timeout 600 notebooks notebooks/solutions

lab: $(READY)
	PN_PROFILE="$(if $(filter %.toml,$(PROFILE)),$(abspath $(PROFILE)),$(PROFILE))" PN_CORPUS="$(CORPUS)" $(BIN)/jupyter lab --notebook-dir=. notebooks/01_data_exploration.ipynb

# The environment, made anew when the locked versions change.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PocketNarrator needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Rewrite requirements.lock from pyproject.toml. torch's own GPU libraries are left out: the standard build of torch
# names their versions itself, and a CPU build needs none.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	mkdir -p build
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-annotate --no-header \
	    --upgrade pyproject.toml --output-file build/all.lock
	grep -v -E '^(nvidia-|cuda-|triton)' build/all.lock > requirements.lock
