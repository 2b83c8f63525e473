# Every target makes the environment it needs. torch comes first, from the pin: left to the resolver it
# would bring gigabytes of CUDA.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STORE ?= .nosce
SHELL := /bin/bash

.PHONY: install demo test test-whole test-lowest slow check docs bench results recompute clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $$(command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "nosce needs Python 3.11 or newer; name one with PYTHON=..." && exit 1)
	$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/nosce run biographies --scale demo --store $(STORE)
	$(BIN)/nosce report --out $(STORE)/report --store $(STORE)

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not whole and not slow and not gpu'

# Whole studies, processes and servers, each for seconds; CI runs them after `make test`.
test-whole: install
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'whole and not slow and not gpu'

# The suite with the lowest version of each dependency that pyproject.toml allows. torch is the pinned one, since an
# older one brings gigabytes of CUDA; `make test-lowest TORCH=torch==2.9.0` takes its floor too.
TORCH ?= $(shell grep '^torch==' constraints.txt)
LOWEST := .venv-lowest

test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest -n 2 --dist worksteal -m 'not slow and not gpu'

$(LOWEST)/installed: pyproject.toml constraints.txt
	rm -rf $(LOWEST)
	$$(command -v $(PYTHON) || command -v python3) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --no-deps $(TORCH)
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
		--constraint <(echo $(TORCH)) --editable '.[dev,ray]'
	touch $@

slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# The documentation as a site in site/, without a network once installed; a link that leads nowhere fails. Search needs
# a server: `python -m http.server -d site`.
docs: $(VENV)/docs-installed
	$(BIN)/python docs/stage_site.py build/site-source
	$(BIN)/zensical build --strict --clean --config-file mkdocs.yml

$(VENV)/docs-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# Paired timings against the usual tools; appends lines to benchmarks/results.csv. An hour or so on two idle cores;
# `make bench BENCH="trainer probes"` runs some of them.
BENCH ?= trainer generate probes worlds interpreters knowledge study choices
bench: install
	for name in $(BENCH); do $(BIN)/python -W ignore benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/table.py

# The committed results: run what is not done yet of laptop scale, then write results/ from the store. Verdicts rest on
# fresh seeds; those that were read while claims were made are run first and stand beside.
results: install
	for study in biographies biographies_variants karel diaries emergence introspection; do \
		$(BIN)/nosce run $$study --scale laptop --store $(STORE) && \
		$(BIN)/nosce run $$study --scale laptop --until-decided --store $(STORE) || exit 1; done
	for study in biographies_adamw biographies_packed; do $(BIN)/nosce run $$study --scale laptop --store $(STORE) || exit 1; done
	$(BIN)/nosce report --out results --readings --store $(STORE)

# Every verdict and figure of results/ once more, from the readings beside the pages: no model, no store.
recompute: install
	$(BIN)/nosce recompute results

clean:
	rm -rf $(VENV) $(LOWEST) .pytest_cache .mypy_cache .ruff_cache .cache build dist site
