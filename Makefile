# make help lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
HTML := _build/html/index.html
PORT ?= 8000

# The size of every experiment in the book: smoke, quick or full.
COMPANION_SCALE ?= quick

# Nothing of the caller's leaks in: no settings of Python, of Jupyter and its kernels, of matplotlib,
# pytest or pip (where packages come from apart), no file in the user's folders.
unexport $(filter PYTHON% JUPYTER% IPYTHON% MPL% MATPLOTLIB% PYTEST% COVERAGE% NBMAKE% SPHINX%, $(.VARIABLES))
unexport $(filter-out %_URL %_CERT %_HOST %_LINKS %_INDEX %_FILE %_DIR %_TIMEOUT PIP_PROXY PIP_RETRIES, $(filter PIP_%, $(.VARIABLES)))
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_USER = 0
export IPYTHONDIR := $(CURDIR)/$(VENV)/home/ipython
export JUPYTER_CONFIG_DIR := $(CURDIR)/$(VENV)/home/jupyter
export JUPYTER_DATA_DIR := $(CURDIR)/$(VENV)/home/jupyter
export JUPYTER_PREFER_ENV_PATH = 1
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/home/matplotlib
export COMPANION_SCALE
# A kernel that builds a page looks like a live notebook; nobody watches its bars.
export COMPANION_PROGRESS = 0
# Threads that wait for each other should sleep: spinning ones slow down everybody on a busy machine.
export OMP_WAIT_POLICY = passive

# What looks at the built pages.
PAGES := tests/test_html.py tests/test_browser.py tests/test_play.py

.DEFAULT_GOAL := help
.PHONY: help book slides handouts test lower newest lint format notebooks serve bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z ]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# An environment that was moved still points to where it was: it is installed again.
ifneq ($(shell cat $(STAMP) 2>&1), $(CURDIR))
.PHONY: $(STAMP)
endif
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed, and '$(PYTHON)' is not. Name another: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[book,test,slides,practice,dev]"
	@mkdir -p $(VENV)/home/ipython # IPython warns of a home that is not there
	@pwd -P > $@

book: $(STAMP) ## build the book (COMPANION_SCALE=smoke, quick or full; quick unless told)
	$(BIN)/python -m tools.execution
	$(BIN)/python -c "from jupyter_book.cli.main import main; main()" build . --config _config.yml --toc "$$PWD/_toc.yml" -W -n --keep-going
	$(BIN)/python -m pytest -q -n auto --dist loadgroup $(PAGES)
	@echo "The book is in $(HTML)"

slides: $(STAMP) ## write a deck of slides a chapter, from the cells that the book runs too
	$(BIN)/python -m tools.execution
	$(BIN)/python -m tools.slides
	$(BIN)/python -m pytest -q -n auto tests/test_slides.py tests/test_decks.py

handouts: $(STAMP) ## print the problem sets (python -m tools.handouts --solutions: the solved ones)
	$(BIN)/python -m tools.handouts

# One thread a process: the processes already share the cores between them.
test: $(STAMP) ## run tests, doctests and every notebook (at smoke scale), with coverage
	COMPANION_SCALE=smoke OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --cov --nbmake book companion tests $(PAGES:%=--ignore=%)

# The same with versions that constraints.txt does not choose, in environments of their own.
lower: PINS = "$(PYTHON)" tools/lower_bounds.py
newest: PINS = :
lower newest: ## tests and doctests at the lower bounds of pyproject.toml, or with the newest of all
	test -x $(VENV)-$@/bin/python || "$(PYTHON)" -m venv $(VENV)-$@
	$(PINS) > $(VENV)-$@/pins.txt
	$(VENV)-$@/bin/python -m pip install --quiet --upgrade -c $(VENV)-$@/pins.txt -e ".[book,test,practice]"
	COMPANION_SCALE=smoke OMP_NUM_THREADS=1 $(VENV)-$@/bin/python -m pytest -n auto --nbmake book companion tests $(PAGES:%=--ignore=%)

lint: $(STAMP) ## check style, format and workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/python -m tools.notebooks --check

format: $(STAMP) ## repair style and format where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(STAMP) ## regenerate the notebooks from the chapters
	$(BIN)/python -m tools.notebooks

serve: ## show the built book at http://localhost:8000 (PORT=...)
	@test -f $(HTML) || { echo "There is no book yet: run make book first." >&2; exit 1; }
	"$(PYTHON)" -m http.server --directory _build/html --bind 127.0.0.1 $(PORT)

bench: $(STAMP) ## time the optimizers against other implementations
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.optim

clean: ## remove what make has made, the environment included
	rm -rf $(VENV) $(VENV)-lower $(VENV)-newest _build .pytest_cache .ruff_cache .coverage .coverage.* *.egg-info
