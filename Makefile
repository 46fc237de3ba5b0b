# The tasks of this repository, by name; .ci/run calls the same. `make` alone lists them.
#
#   make test PYTHON=.venv/bin/python ARGS="-k presence -x"

PYTHON ?= python
NPM ?= npm
ARGS ?=
DIST ?= dist
JS := $(NPM) --prefix tests/js

.DEFAULT_GOAL := help
.PHONY: help check format test unit lint types js js-tools docs quickstart tables operating servers bench shape wheel

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

check: lint types unit docs  ## What to run before each commit: a minute or two

format:  ## Put the code into its form
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test:  ## The whole suite, against real servers
	$(PYTHON) -m pytest $(ARGS)

unit:  ## The fast tests, which need no server
	$(PYTHON) -m pytest tests/unit $(ARGS)

lint:  ## Style: ruff
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:  ## Types: mypy --strict
	$(PYTHON) -m mypy

docs:  ## The README and docs/: links, tables, snippets
	$(PYTHON) -m pytest tests/test_docs.py tests/test_readme.py tests/quickstart $(ARGS)

quickstart:  ## docs/quickstart.md as it is written, by the watch: pip, a browser, two minutes
	$(PYTHON) -m pytest -m quickstart tests/quickstart -n 0 $(ARGS)

tables:  ## Write the tables of docs/ that come from the code: settings, modules, sizes
	$(PYTHON) -m tests.tables

operating:  ## Restarts, kills and a thousand sockets behind nginx; on a machine that does nothing else
	$(PYTHON) -m pytest tests/operating -m alone -n 0 $(ARGS)

servers:  ## What holds under each ASGI server; needs the extra `servers`, and nginx
	$(PYTHON) -m pytest -m servers $(ARGS)

js: js-tools  ## The browser client: tests, lint, types, the npm package
	node --test tests/js/*.test.mjs
	$(JS) run lint
	$(JS) run types
	$(JS) run declarations -- --check
	$(JS) run package

js-tools:
	$(JS) install --no-package-lock --no-audit --no-fund

picture:  ## Make docs/images/demo.png; ARGS=<folder>: pictures of every state of the demo's page
	$(PYTHON) -m tests.screenshots $(ARGS)

bench:  ## The benchmarks: half an hour; ARGS=--quick takes five minutes
	$(PYTHON) -m tests.benchmarks $(ARGS)

shape:  ## The sizes and import chains of the package; ARGS=<commit> beside it
	$(PYTHON) -m tests.benchmarks.shape $(ARGS)

wheel:  ## Build the wheel, and look what it holds; `make quickstart` uses it
	rm -rf $(DIST)
	$(PYTHON) -m build --wheel --outdir $(DIST) .
	$(PYTHON) .ci/check_wheel.py $(DIST)/*.whl
