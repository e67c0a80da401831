# make help lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/installed
HTML := _build/html/index.html
PORT ?= 8000

# The size of every experiment in the book: smoke, quick or full.
COMPANION_SCALE ?= quick

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# A kernel that builds a page looks like a live notebook; nobody watches its bars.
export COMPANION_PROGRESS = 0
# Threads that wait for each other should sleep: spinning ones slow down everybody on a busy machine.
export OMP_WAIT_POLICY = passive
# Nothing of the caller's leaks into the build: a backend set here would silence every figure.
unexport MPLBACKEND PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help book test lint format notebooks serve bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed, and '$(PYTHON)' is not. Name another: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[book,test,dev]"
	@touch $@

book: $(STAMP) ## build the book (COMPANION_SCALE=smoke, quick or full; quick unless told)
	COMPANION_SCALE=$(COMPANION_SCALE) $(BIN)/jupyter-book build . --config _config.yml \
	  --toc $(CURDIR)/_toc.yml -W -n --keep-going
	$(BIN)/python -m pytest -q tests/test_html.py
	@echo "The book is in $(HTML)"

# One thread a process: the processes already share the cores between them.
test: $(STAMP) ## run tests, doctests and every notebook (at smoke scale), with coverage
	COMPANION_SCALE=smoke OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --cov --nbmake companion tests book

lint: $(STAMP) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## repair style and format where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(STAMP) ## regenerate the notebooks from the chapters
	$(BIN)/python tools/notebooks.py

serve: ## show the built book at http://localhost:8000 (PORT=...)
	@test -f $(HTML) || { echo "There is no book yet: run make book first." >&2; exit 1; }
	$(PYTHON) -m http.server --directory _build/html --bind 127.0.0.1 $(PORT)

bench: $(STAMP) ## time the optimizers against other implementations
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/optim.py

clean: ## remove what make has made, the environment included
	rm -rf $(VENV) _build .pytest_cache .ruff_cache .coverage .coverage.* *.egg-info
