# Needs make, Python 3.11 or newer, and pip. Everything is installed into .venv.

PYTHON ?= python3
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
PYTEST_ARGS ?=

# The workflow's rules call the installed command line by its name.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

INSTALL = .venv/bin/python -m pip install --quiet -c constraints.txt
CHECK_PYTHON = import sys; sys.exit(sys.version_info < (3, 11) and \
	"resampled-priors needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + \
	". Name another one: make PYTHON=python3.11")

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint schema docs dist clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	@echo "Installing into .venv: about 1.6 GB, more with a CUDA build of PyTorch; a few minutes"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[test]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(INSTALL) -e '.[dev]'
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(INSTALL) -e '.[docs]'
	@touch $@

demo: .venv/.installed  ## every table and figure, at a small budget, into results/demo
	.venv/bin/snakemake all --cores $(CORES) --configfile config/demo.yaml \
		--report results/demo/report.html --report-after-run
	@echo "Tables and figures are in results/demo, all on one page in results/demo/index.html"

test: .venv/.installed  ## run the tests; PYTEST_ARGS="-k packaging" selects
	OMP_NUM_THREADS=1 .venv/bin/pytest -n $(CORES) $(PYTEST_ARGS)

lint: .venv/.installed-dev  ## check style and the workflow: ruff, snakefmt, snakemake --lint
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/snakemake --lint

schema: .venv/.installed  ## write the part of the config's schema that the families' signatures give
	.venv/bin/python -m resampled_priors.schema

docs: .venv/.installed-docs  ## the documentation as a web site, into site
	.venv/bin/mkdocs build --strict

.venv/.installed-bench: .venv/.installed
	$(INSTALL) -e '.[bench]'
	@touch $@

bench: .venv/.installed-bench  ## time training, Z, NLL and sampling; BENCH_ARGS="--only NLL" selects
	.venv/bin/python benchmarks/bench.py $(BENCH_ARGS)

dist: .venv/.installed-dev  ## wheel and sdist, into dist; the wheel tried in an empty environment
	rm -rf build dist
	.venv/bin/python -m build
	.venv/bin/twine check --strict dist/*
	$(PYTHON) -m venv build/venv
	build/venv/bin/python -m pip install --quiet -c constraints.txt dist/*.whl
	cd build && venv/bin/resampled-priors --version
	cd build && venv/bin/python ../tests/readme_library.py ../README.md
	cd build && venv/bin/python ../examples/target_2d.py
	cd build && venv/bin/resampled-priors figure figA1 --configfile ../config.yaml --results .

# .snakemake stays: it knows with which settings the real results were made.
clean:  ## remove .venv, results/demo and caches; other results stay
	rm -rf .venv build dist site results/demo .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
