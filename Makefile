# make report   all eleven notebooks, headless, then the report (HTML and PDF)
# make test     every test, and the notebooks themselves
# make lab      JupyterLab on the contents of the course
# make lab-test     every notebook in a real JupyterLab, and the page with a model, in a headless browser
# make site         the course as web pages, with search, in build/site
# make assignment   the exercises as nbgrader assignments, in build/assignment
# make mutants      does a test notice a mistake in pn_lib? SAMPLE=200 of them are tried, a minute each
# make faults       is anything lost or silently wrong? SAMPLE=200 faults more: killed, no disk, no memory, damaged files
# make numbers      how far do numbers move with other threads and other instructions? ten minutes
# make large        a corpus of MEGABYTES=1000, a judge of TEXTS=10000, the playground for SECONDS=3600, and Ctrl-C
# make fuzz         spoiled files for every reader, for SECONDS=3600; the fuzzer, atheris, has wheels for Linux on x86-64
# Choose with PROFILE=smoke|quick|laptop|overnight|paper and CORPUS=pocket|tinystories|path.
# PYTHON names the interpreter of a new .venv; with an empty CONSTRAINT it takes the newest release of every package.

PROFILE ?= quick
CORPUS ?= pocket
PYTHON ?= python3
CONSTRAINT ?= --constraint requirements.lock
SAMPLE ?= 200
SECONDS ?= 3600
MEGABYTES ?= 1000
TEXTS ?= 10000

# How OpenMP's threads wait, for kernels that import PyTorch before pn_lib: see pn_lib/process.py
export GOMP_SPINCOUNT ?= 2000
export KMP_BLOCKTIME ?= 1

# A misspelled variable would be without effect.
SETTINGS := PROFILE CORPUS PYTHON CONSTRAINT SAMPLE SECONDS MEGABYTES TEXTS UPGRADE BIN GOMP_SPINCOUNT KMP_BLOCKTIME
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(SETTINGS),$(GIVEN))
$(if $(UNKNOWN),$(error there is no variable $(UNKNOWN); known are $(SETTINGS)))

# Kernels are those of .venv, also where another environment's python3 comes first on Jupyter's path.
export JUPYTER_PATH := $(CURDIR)/.venv/share/jupyter$(if $(JUPYTER_PATH),:$(JUPYTER_PATH))

BIN := .venv/bin
READY := .venv/ready
DEVELOP := .venv/ready-dev
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check $(CONSTRAINT) --editable
NBVAL_ROOT := build/nbval

.PHONY: report test lint unit-tests notebook-tests mutants faults numbers large fuzz lab lab-test site assignment lock

report: $(READY)
	@$(BIN)/python -m pn_lib run --profile "$(PROFILE)" --corpus "$(CORPUS)"

test: lint unit-tests notebook-tests

lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/python tests/prose.py

# Two processes of one thread each: two that each wait for two threads would slow one another.
unit-tests: $(DEVELOP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

# In order, in one process: each notebook reads what the ones before it wrote, away from your own runs.
notebook-tests: $(DEVELOP)
	rm -rf $(NBVAL_ROOT)
	CI=true PN_ROOT="$(CURDIR)/$(NBVAL_ROOT)" PN_PROFILE=smoke PN_CORPUS=pocket \
	    $(BIN)/pytest --nbval-lax --nbval-current-env --timeout 600 notebooks notebooks/solutions

mutants: $(DEVELOP)
	$(BIN)/python tests/mutants.py $(SAMPLE)

faults: $(DEVELOP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults.py $(SAMPLE)

numbers: $(DEVELOP)
	$(BIN)/python tests/elsewhere.py

large: $(DEVELOP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/large.py --megabytes $(MEGABYTES) --texts $(TEXTS) --seconds $(SECONDS)

fuzz: $(DEVELOP)
	$(INSTALL) '.[fuzz]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py $(SECONDS)

lab: $(READY)
	PN_PROFILE="$(if $(filter %.toml,$(PROFILE)),$(abspath $(PROFILE)),$(PROFILE))" PN_CORPUS="$(CORPUS)" \
	    $(BIN)/python -c 'import pn_lib; from jupyterlab.labapp import main; main()' --notebook-dir=. notebooks/contents.ipynb

# The environment, made anew when the locked versions change. Of two makes at once one installs, the other waits: venv
# would empty what pip is filling.
define ALONE
import fcntl, os, sys
lock = open("requirements.lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Another make is installing into .venv; waiting for it.", flush=True)
    fcntl.flock(lock, fcntl.LOCK_EX)
except OSError:
    print("No locks on this file system: start no other make until .venv is installed.", flush=True)
os.set_inheritable(lock.fileno(), True)
os.execvp(sys.argv[1], sys.argv[1:])
endef
export ALONE

$(READY) $(DEVELOP): requirements.lock pyproject.toml

ifndef INSTALLING
$(READY) $(DEVELOP):
	@INSTALLING=1 $(PYTHON) -c "$$ALONE" $(MAKE) --no-print-directory $@
else
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PocketNarrator needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv, once: about 1 GB. pip shows each download; then it unpacks them all, for a while without a word."
	$(INSTALL) .
	@$(BIN)/python -m pn_lib.models.cpu.precompile
	@touch $@

# And what tests, web pages and assignments need besides.
$(DEVELOP): $(READY)
	$(INSTALL) '.[dev]'
	@touch $@
endif

# Needs Chromium: the machine's own, the one named by PN_CHROMIUM, or that of `.venv/bin/playwright install chromium`.
lab-test: $(DEVELOP)
	$(BIN)/pytest -m browser tests/browser

site: $(DEVELOP)
	$(BIN)/python -m pn_lib site

assignment: $(DEVELOP)
	$(BIN)/python -m pn_lib assignment

# Rewrite requirements.lock from pyproject.toml: the versions of all that any part of the project can need, on any system
# and any Python from 3.11 on. Versions that still fit stay as they are; `make lock UPGRADE=--upgrade` takes the newest.
# torch's own GPU libraries are left out: the standard build of torch names their versions itself, and a CPU build needs
# none.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	mkdir -p build
	cp requirements.lock build/all.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	    $(UPGRADE) pyproject.toml --output-file build/all.lock
	grep -v -E '^(nvidia-|cuda-|triton)' build/all.lock > requirements.lock
