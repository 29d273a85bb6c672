# segops: everything is done in .venv; `make` alone lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Data files for the demo: these two packages carry real purchase and click histories. Nothing of theirs is
# ever imported, so what they would pull in (pandas and more) stays out.
DEMO_DATA := Lifetimes==0.11.3 retentioneering==5.2.4

# Tests: which broker (auto, jvm, docker, embedded), which part of the suite, and how many at a time. Tests of a
# broker wait half of their time: twice as many processes as cores keep two cores busy.
BROKER ?= $(or $(SEGOPS_TEST_BROKER),auto)
TESTS ?=
PYTEST := SEGOPS_TEST_BROKER=$(BROKER) $(BIN)/pytest
PARALLEL := -q -n $(or $(PROCESSES),4)

# The tests start hundreds of processes: each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: studio-eval help install image lock demo test test-rest test-plain check lint format types imports bench bench-peers fuzz fuzz-kernel faults soak kafka kernel kernel-check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv and install segops with everything its development needs

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "segops needs Python 3.11 or newer; '$(PYTHON)' is not one. Name another: make install PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: on Debian and Ubuntu install the package python3-venv" >&2; \
	  exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(DEMO_DATA)
	@$(BIN)/segops version
	@touch $@

CARGO := $(shell command -v cargo)
CRATE := --manifest-path segops/kernel/Cargo.toml --locked
# Beside what the installation of the package builds: with one job, so that other work goes on.
export CARGO_TARGET_DIR := build/kernel
export CARGO_BUILD_JOBS ?= 1

kernel: $(STAMP) ## Build the kernel (cargo 1.82 or newer, a C compiler), which workers run unless SEGOPS_KERNEL=off
	cargo build --quiet --release --features python $(CRATE)
	for kind in so dylib; do test ! -e build/kernel/release/libsegops_kernel.$$kind || \
	  cp build/kernel/release/libsegops_kernel.$$kind segops/kernel/_native.new; done
	mv -f segops/kernel/_native.new segops/kernel/_native.abi3.so
	@SEGOPS_KERNEL=require $(BIN)/segops version

kernel-check: ## Check format and style of the kernel, and run its own tests, where cargo is found
ifeq ($(CARGO),)
	@echo "no cargo here: the kernel is not checked"
else
	cargo fmt --check --manifest-path segops/kernel/Cargo.toml
	cargo clippy --quiet --all-targets --features python $(CRATE) -- -D warnings
	cargo test --quiet $(CRATE)
endif

demo: $(STAMP) ## Run the whole system on real purchase history and verify it (KEEP=1 leaves it running, with the console; LIMIT=101856 plays all events)
	$(BIN)/segops demo --limit $(or $(LIMIT),36000) $(if $(KEEP),--keep)

test: $(STAMP) ## Run all but the longest tests, or TESTS="path or options" (BROKER=auto|jvm|docker|embedded)
	$(PYTEST) $(or $(TESTS),$(PARALLEL) -m "not rest")

test-rest: $(STAMP) ## Run the tests that `make test` leaves out (tests/README.md says which)
	SEGOPS_TEST_EXAMPLES=all $(PYTEST) $(PARALLEL) -m "rest or drawn"

# Of each kind of streaming and fault test one that ran with the kernel in `make test`.
PLAIN := faults/test_faults.py $(patsubst %,streaming/test_%.py,worker recovery identity exactly_once transactions \
  rollout backfill_live scans erasure split wall_clock time_travel origin live_figures indicators_live models control)

test-plain: $(STAMP) ## Run a representative part of the tests in pure Python
	SEGOPS_KERNEL=off $(PYTEST) $(PARALLEL) -m "not rest" $(addprefix tests/,$(PLAIN))

check: format-check lint types imports kernel-check ## Check format, style, types, layers, the kernel; run the short tests without a broker (PROCESSES=2)
	$(BIN)/pytest -q -m "not (broker or rest or slow)" -n $(or $(PROCESSES),2) --dist worksteal

.PHONY: format-check
format-check: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP) ## Check the style
	$(BIN)/ruff check .
	$(BIN)/hadolint deploy/Dockerfile

format: $(STAMP) ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

types: $(STAMP) ## Check the types; in tests, the names and calls
	$(BIN)/mypy
	$(BIN)/mypy -p tests

imports: $(STAMP) ## Check that each layer imports lower ones only
	$(BIN)/lint-imports

studio-eval: $(STAMP) ## Measure how well the studio understands the seen sentences, or FILE=tests/studio/sentences_unseen.yaml
	$(BIN)/segops studio eval $(or $(FILE),tests/studio/sentences_seen.yaml) $(if $(CASES),--cases)

bench: $(STAMP) ## Measure what an event costs in the core and end to end
	$(BIN)/python -m tests.bench

# Their virtual environments and jars are made once, below .segops/peers.
bench-peers: $(STAMP) ## Compare with Faust, Quix, Bytewax, Kafka Streams, PyFlink (EVENTS= PEERS= ROWS= TURNS= RESUME=1)
	$(BIN)/python -m tests.bench.peers --broker $(BROKER) $(if $(EVENTS),--events $(EVENTS)) \
	  $(if $(PROFILES),--profiles $(PROFILES)) $(if $(TURNS),--turns $(TURNS)) $(if $(PEERS),--peers $(PEERS)) \
	  $(if $(ROWS),--rows $(ROWS)) $(if $(RESUME),--resume)

fuzz: $(STAMP) ## Compare the compiled rules with the slow evaluator for long (CASES=20000, SECONDS=1800, REQUIRE=300)
	$(BIN)/python -m tests.fuzz --cases $(or $(CASES),20000) --seconds $(or $(SECONDS),1800) \
	  $(if $(REQUIRE),--require $(REQUIRE))

fuzz-kernel: $(STAMP) ## Compare whole partitions by the kernel and by Python for long (CASES=20000, SECONDS=7200)
	$(BIN)/python -m tests.fuzz_kernel --cases $(or $(CASES),20000) --seconds $(or $(SECONDS),7200)

faults: $(STAMP) ## Break workers, brokers, disks and input in every way; is anything lost? (SEEDS=20, ONLY=F1,F5, MODE=both)
	$(BIN)/python -m tests.faults --seeds $(or $(SEEDS),1) --only "$(ONLY)" --mode $(or $(MODE),both) \
	  --report tests/faults/REPORT.md

soak: $(STAMP) ## Break them at random for long, with a drawing of memory and lag (MINUTES=30, MODE=at_least_once)
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),30) --mode $(or $(MODE),at_least_once)

# Whichever of these there is. buildah and podman keep the health check only in Docker's format.
BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(if $(shell command -v $(tool)),$(tool))))

image: ## Build the image segops (PYTHON_IMAGE=, BUILDER=docker|podman|buildah)
	$(BUILDER) build $(if $(filter-out docker,$(BUILDER)),--format docker --timestamp 0) -t segops -f deploy/Dockerfile \
	  $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) \
	  --build-arg REVISION=$(or $(shell git rev-parse HEAD 2>/dev/null),unknown) .

LOCK := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

lock: ## Pin the packages of the image anew (needs uv)
	$(LOCK) pyproject.toml --extra archive --extra google --extra oidc --extra sources -o deploy/image/requirements.txt
	echo 'hatchling>=1.27,<2' | $(LOCK) - -o deploy/image/build-requirements.txt

kafka: $(STAMP) ## Run Apache Kafka on 127.0.0.1:9092 without Docker, until Ctrl-C
	$(BIN)/segops broker --kind jvm --data-dir .segops/kafka

clean: ## Remove .venv, local data and caches
	rm -rf $(VENV) .segops .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find segops tests -name __pycache__ -type d -prune -exec rm -rf {} +
