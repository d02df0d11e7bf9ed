# Everything a person needs, from a fresh clone: `make demo` and `make test`. Only Python 3.11+, pip and make are assumed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests of real processes wait more than they count: two at a time take half as long.
PYTEST := $(BIN)/pytest -n 2 --dist worksteal

.PHONY: demo test check lint fast docs bench nights bundle fuzz kills soak chaos chaos-release clean help

help:
	@echo "make demo   set up, then expose two real stars and a field of 300 fibres"
	@echo "make test   set up, then everything: check and all tests"
	@echo "make check  style, types, direction of imports, fast tests (under a minute)"
	@echo "make docs   the pages of docs/ as a site in build/docs"
	@echo "make bundle the default network from nothing: spectra, training, calibration (under three hours)"
	@echo "make fuzz   a million hostile messages to every decoder (N=... SEED=...)"
	@echo "make kills  2000 times kill -9 of a source, the daemon, its worker or a bridge (CYCLES=... SEED=..., Ctrl-C judges what was done)"
	@echo "make chaos  2000 simulated nights of faults and every mutant of the protocol (N=... SEED=..., ONLY=seed shows one)"
	@echo "make chaos-release  a hundred thousand of them, after 'make kills' (N=... SEED=...)"
	@echo "make soak   half an hour of 300 fibres every ten seconds: does anything grow? (MINUTES=...)"
	@echo "make nights 500 simulated nights, some along the full path, the features of the verdict at full size (an hour and a half)"
	@echo "make bench  timings, printed and written to benchmarks/results/"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"live-spec needs Python 3.11 or newer, this is {sys.version.split()[0]}; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	# torch first and pinned: an unpinned torch brings gigabytes of GPU libraries that a laptop does not need.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,check,docs]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/live-spec demo

# Style and types run beside the fast tests: two cores, under a minute from cold caches.
check: $(STAMP)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint fast

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: $(STAMP)
	$(PYTEST) -m 'not slow and not gpu'

test: lint
	$(PYTEST)

docs: $(STAMP)
	$(BIN)/python tools/make_reference.py
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

bench: $(STAMP)
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/engine_gpu.py
	$(BIN)/python benchmarks/front_end.py
	$(BIN)/python benchmarks/passes.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/archive.py
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/monitor.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/restart.py
	$(BIN)/python benchmarks/gaps.py

# The figures of the README and of docs/survey.md: 500 mixed nights, some along the full path, and the features of the
# verdict at their full sizes, the nights of mishaps included; an hour and a half on two cores.
nights: $(STAMP)
	$(BIN)/live-spec nights --n 500 --visits 3 --seed 1000
	$(BIN)/live-spec nights --full --n 4 --visits 3
	$(BIN)/python benchmarks/flat_rule.py
	$(BIN)/python benchmarks/caution.py
	LIVE_SPEC_FULL=1 $(BIN)/pytest -k 'feature or mishaps' --timeout 3600

# The bundle that ships, from nothing: under three hours on two cores. It goes on where it stopped.
bundle: $(STAMP)
	$(BIN)/live-spec data build --out build/data --n 6000 --seed 7
	$(BIN)/live-spec data build --out build/held-out --n 2000 --seed 1007
	$(BIN)/live-spec train configs/train-default.toml --data build/data --held-out build/held-out --out build/run --resume

# A million bent messages to every decoder: a quarter of an hour on one core.
fuzz: $(STAMP)
	cd tests && ../$(BIN)/python -m helpers.fuzz --n $(or $(N),1000000) --seed $(or $(SEED),1)

# Two thousand deaths by kill -9 and the same night without any: about an hour.
kills: $(STAMP)
	cd tests && ../$(BIN)/python -m helpers.kills --cycles $(or $(CYCLES),2000) --seed $(or $(SEED),1)

# Simulated nights of faults, each from its seed, and the mutants that they must catch.
chaos: $(STAMP)
	cd tests && ../$(BIN)/python -m simulation $(if $(ONLY),--only $(ONLY),--n $(or $(N),2000) --seed $(or $(SEED),1))

# Before a release: an hour and a half of simulated nights on two cores, after the kills of real processes.
chaos-release: $(STAMP) kills
	cd tests && ../$(BIN)/python -m simulation --n $(or $(N),100000) --seed $(or $(SEED),100000)

# Half an hour, most of it waiting; its last line says what has grown, or that nothing has.
soak: $(STAMP)
	cd tests && ../$(BIN)/python -m helpers.soak --minutes $(or $(MINUTES),30)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
