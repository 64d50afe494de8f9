# One entry for everything; `make help` lists it. Needs Rust, Python 3.11, gcc, g++ and make; installs the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
WHEEL_VENV := build/wheel-venv
SAMPLE_VENV := build/sample-venv
CARGO_FLAGS ?= --locked
FUZZ_SECONDS ?= 60
ROUNDS ?= 300
URL ?=
PYTHONS ?=
MINUTES ?= 5
JOBS ?=
SOURCES := python tests docs $(wildcard tools)

# Registries can be slow or drop a connection: three tries, then fail.
retry = for attempt in 1 2 3; do $(1) && break || { [ $$attempt -lt 3 ] && echo "attempt $$attempt failed, again"; }; done
pip = $(1) -m pip install -q --disable-pip-version-check --retries 5 --timeout 60

# How a check ends, so that its last line says that nothing failed.
passed = @echo "$@: passed"

.NOTPARALLEL:
# Every target with a line in `make help`.
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*##.*/\1/p' $(MAKEFILE_LIST))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready peers ## virtual environment, Python tools, crates, and Debian packages of the peers

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/peers/install.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	$(call retry,$(call pip,$(PY)) 'pip>=25.1')
	$(call retry,$(call pip,$(PY)) --group dev)
	$(call retry,cargo fetch $(CARGO_FLAGS))
	touch $@

peers: ## install DCMTK, gdcmscu, Orthanc, tshark, strace and dicom3tools where they are missing (Debian, root)
	@tests/peers/install.sh

build: $(VENV)/.ready ## build the native module into the virtual environment (editable)
	$(call retry,VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release $(CARGO_FLAGS))

quick: $(VENV)/.ready ## the same with little optimization: seconds after a change, and enough for test-fast
	$(call retry,VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --profile quick $(CARGO_FLAGS))

wheel: $(VENV)/.ready ## build the abi3 wheel; run the README and the sample project where there is no Rust
	rm -rf dist $(WHEEL_VENV)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin build --release $(CARGO_FLAGS) --out dist
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(call retry,$(call pip,$(WHEEL_VENV)/bin/python) 'pip>=25.1')
	$(call retry,$(call pip,$(WHEEL_VENV)/bin/python) --group readme dist/*.whl)
	env -i HOME="$$HOME" PATH=$(abspath $(WHEEL_VENV))/bin CI="$${CI:-}" $(WHEEL_VENV)/bin/python -m pytest tests/examples
	$(MAKE) sample

sample: ## run the tests of the sample project with the wheel in dist/ and its extra alone
	rm -rf $(SAMPLE_VENV)
	$(PYTHON) -m venv $(SAMPLE_VENV)
	$(call retry,$(call pip,$(SAMPLE_VENV)/bin/python) "$$(ls dist/*.whl)[test]")
	cd examples/sample-project && env -i HOME="$$HOME" PATH=$(abspath $(SAMPLE_VENV))/bin:/usr/bin:/bin \
		timeout 300 python -m pytest -p no:cacheprovider

wheels: build/wheels-tools/.ready ## the sdist and the wheels for Linux, x86_64 and aarch64, checked and tried; URL=of the repository
	tools/wheels.sh build/wheels-tools/bin $(URL)
	$(PYTHON) tools/check_wheels.py build/wheels-tools/bin $(PYTHONS)
	build/wheels-tools/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	build/wheels-tools/bin/zizmor --offline .github/workflows
	$(passed)

build/wheels-tools/.ready: pyproject.toml
	tests/peers/install.sh mmdebstrap qemu-user-static rustc-web
	$(PYTHON) -m venv build/wheels-tools
	$(call retry,$(call pip,build/wheels-tools/bin/python) 'pip>=25.1')
	$(call retry,$(call pip,build/wheels-tools/bin/python) --group wheels)
	touch $@

demo: build ## the main job on real files: send, store, find, get, move, compare
	$(PY) -m tests.demo.run

fmt: $(VENV)/.ready ## format Rust and Python
	cargo fmt --all
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix --exit-zero -q $(SOURCES)

lint: $(VENV)/.ready ## formatting, clippy, ruff, mypy
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(passed)

test: setup lint test-rust build stubs types docs test-python wheel demo ## everything that has to hold
	$(passed)

test-fast: quick test-proto ## while working: unit, loopback without what is slow, dimse-proto; under a minute
	$(PY) -m pytest -n $(or $(JOBS),3) -m "not slow" tests/unit tests/loopback
	$(passed)

test-rust: ## Rust tests of the workspace, the doc examples and the replayed fuzz corpora
	cargo test $(CARGO_FLAGS) --workspace
	$(passed)

test-proto: ## the protocol crate alone
	cargo test $(CARGO_FLAGS) -p dimse-proto
	$(passed)

test-net: ## the crate of sockets and files alone
	cargo test $(CARGO_FLAGS) -p dimse-net
	$(passed)

test-python: build ## all Python tests, in JOBS processes if that is set
	$(PY) -m pytest $(if $(JOBS),-n $(JOBS))
	$(passed)

stubs: build ## check the stubs against the built module
	$(PY) -m mypy.stubtest dimse_rs._core
	$(passed)

types: build ## what users write checks, in two type checkers, and every public name has a type
	$(BIN)/pyright
	mkdir -p build
	cd build && PYTHONPATH=$(abspath python) $(abspath $(BIN))/pyright --pythonpath $(abspath $(PY)) \
		--verifytypes dimse_rs --ignoreexternal
	$(passed)

hostile: build peers ## play the hostile cases at our server and at two peers, print the table
	$(PY) -m tests.hostile.run $(HOSTILE)

bench: build peers ## print the benchmark table (QUICK=1: under 3 minutes; ONLY=word: what has it in its name)
	$(PY) -m tests.bench.run $(if $(filter 1,$(QUICK)),--quick) $(if $(ONLY),--only '$(ONLY)')

bench-counts: build peers ## count system calls and task switches for each instance received, beside DCMTK's
	$(PY) -m tests.bench.counts

bench-network: build ## print what window, associations and PDU length bring, on loopback and 50 ms away
	$(PY) -m tests.bench.network

bench-load: build peers ## print what thousands of associations cost, and bad peers (QUICK=1: a few minutes)
	$(PY) -m tests.load.run $(if $(filter 1,$(QUICK)),--quick)

soak: build ## mixed load and faults for MINUTES (default 5): memory stays, and all that was acknowledged
	$(PY) -m tests.load.soak --minutes $(MINUTES)

attack: build ## send mutated data sets through every service and conversion for MINUTES (default 5)
	$(PY) -m tests.mutants.run --seconds $$(( $(MINUTES) * 60 )) $(ATTACK)

durability: build ## kill the server in a storm of stores, ROUNDS times (default 300), and look at what stayed
	$(PY) -m tests.durability.storm --rounds $(ROUNDS)

fuzz: ## run every fuzz target for FUZZ_SECONDS (default 60), and keep the inputs that reached more
	command -v cargo-fuzz >/dev/null || { $(call retry,cargo install --locked cargo-fuzz); }
	$(PYTHON) -m tests.support.corpus unpack
	cd fuzz && for target in $$(RUSTC_BOOTSTRAP=1 cargo fuzz list); do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048; \
	done
	$(PYTHON) -m tests.support.corpus pack

seeds: build peers ## record what other implementations say to each other, as inputs for the fuzz targets
	$(PY) -m tests.peers.seeds

deny: ## licences, sources, versions and advisories of all crates (deny.toml); fetches the advisories
	command -v cargo-deny >/dev/null || { $(call retry,cargo install --locked cargo-deny); }
	cargo deny --locked check

docs: build ## the documentation, into build/docs; offline, and every warning an error
	rm -rf build/docs
	PYTHONPATH=python $(PY) -m sphinx -q -W -n -j 2 -b html docs build/docs
	$(passed)

doc: ## API documentation of the crates
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps

clean: ## remove everything that was built
	cargo clean
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis python/dimse_rs/*.so
	find python tests -name __pycache__ -type d -prune -exec rm -rf {} +
