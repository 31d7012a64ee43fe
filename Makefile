# All commands of users, developers and CI. Needs Python 3.11 or later, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-fast check docs bench fuzz peers clean lock

demo: $(READY)            ## set up and search on scikit-learn's handwritten digits
	$(BIN)/veduta demo

test: check               ## everything CI runs
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope

test-fast: check          ## the same without slow tests and fault injection
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope -m "not slow and not faults"

check: $(READY)           ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)            ## run the examples in README.md and docs/
	$(BIN)/python -m pytest tests/test_docs.py

bench: $(READY)           ## measure ratios; needs an idle machine
	$(BIN)/python -m benchmarks.pixels
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.foundations
	$(BIN)/python -m benchmarks.search_naive
	$(BIN)/python -m benchmarks.grid

fuzz: $(READY)            ## mutate files for half an hour, longer with atheris if it is installed
	VEDUTA_FUZZ=50 $(BIN)/python -m pytest tests/faults/test_fuzz.py
	$(BIN)/python -m tools.fuzz

peers: $(READY)           ## the same search with other tools; sets up .peers, 13 GB
	$(BIN)/python -m benchmarks.peers

lock: $(READY)            ## write requirements.lock from the installed packages
	$(BIN)/python -m tools.lock > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:                    ## remove everything that can be made again, except runs
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@echo "setting up $(VENV): some minutes and 5 GB, most of it PyTorch"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)
