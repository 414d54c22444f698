# The two commands: `make run` and `make test`. Both set up all they need; `make help` lists the rest.
#
# Cargo compiles the dependencies three times here, no more: for tests and lints (debug), for the wheel (release, shared
# library) and for the server (release, static). Everything goes to one target folder, CARGO_TARGET_DIR where it is set.

PYTHON ?= python3
CARGO ?= cargo
IMAGE ?= stonechat:latest
ARGS ?=
FUZZ_SECONDS ?= 5
# What `make bench` measures, and how long: 5 runs of 2 s are what figures worth quoting take.
BENCH ?= all
BENCH_RUNS ?= 5
BENCH_SECS ?= 2
# Factor on the sizes of loads.
BENCH_SCALE ?= 1
# Empty while dependencies are being changed: `make test LOCKED=`.
LOCKED ?= --locked

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

venv := $(CURDIR)/.venv
bin := $(venv)/bin
wheels := $(CURDIR)/build/wheels
host := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
server := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/$(host)/release/stonechat-server
pytest := $(bin)/python -m pytest -rs
# For tests that mostly wait, and have ports and folders of their own.
side_by_side := -n 2

export CARGO_TARGET_DIR ?= $(CURDIR)/target
# One interpreter for every build that sees PyO3, or Cargo compiles it anew at each change.
export PYO3_PYTHON := $(bin)/python
# Tests of the wheel find its commands first; tests of the server get the native program.
with_wheel := PATH="$(bin):$$PATH"
with_server := STONECHAT_SERVER="$(server)"
# The real server, where a newer one than the package's can be built; asked only by targets that compare with it.
with_oracle = NATS_SERVER="$$(scripts/oracle.sh)"
# The tool of the real thing, for tests that compare the command with it.
with_tool = NATS_TOOL="$$(scripts/nats-tool.sh)"
natsload := $(CARGO_TARGET_DIR)/$(host)/release/natsload
with_natsload := NATSLOAD="$${NATSLOAD:-$(natsload)}"
# The checker of recorded histories, built where Go is.
with_checker = LINEARIZABILITY="$$(scripts/linearizability.sh)"
with_doors := STONECHAT_DOORS="$(CARGO_TARGET_DIR)/debug/$(if $(filter Darwin,$(shell uname)),lib_stonechat.dylib,lib_stonechat.so)"
with_powercut := STONECHAT_POWERCUT="$(CARGO_TARGET_DIR)/debug/powercut"

# Static on Linux, where the image needs it; elsewhere the platform's own way of linking.
ifneq (,$(findstring linux-gnu,$(host)))
static := -C target-feature=+crt-static
# Zig links the wheel against glibc 2.17, so that any Linux of the last ten years takes it.
portable := --zig --target $(host) --compatibility manylinux_2_17
endif

##@ The two commands

.PHONY: run
run: need-rust binary ## Build the server and start it with JetStream (ARGS='-m 8222' passes more arguments)
	@scripts/run.sh '$(server)' $(ARGS)

.PHONY: need-rust
need-rust:
	@CARGO='$(CARGO)' scripts/need.sh rust

.PHONY: need-docker
need-docker:
	@scripts/need.sh docker

.PHONY: test
test: ## Run every check, go on after a failure, and say at the end what failed and what was skipped
	@MAKE='$(MAKE)' scripts/test.sh

##@ Single checks

.PHONY: lint
lint: venv ## Formatting, clippy, cargo-deny, ruff, mypy, shellcheck, sizes, tidy; warnings are errors
	@scripts/sizes.sh
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path rust/fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --features stonechat-python/doors $(LOCKED) -- -D warnings
	$(CARGO) clippy --package stonechat-broker --all-targets --features shuttle $(LOCKED) -- -D warnings
	scripts/deny.sh
	$(bin)/python scripts/capabilities.py --check
	$(bin)/python scripts/tidy.py
	$(bin)/python -m ruff format --check .
	$(bin)/python -m ruff check .
	MYPYPATH=python $(bin)/python -m mypy
	MYPYPATH=python $(bin)/python -m mypy tests
	for lab in tutorials/labkit tutorials/0*; do MYPYPATH=python:tutorials $(bin)/python -m mypy "$$lab"; done
	@if command -v shellcheck >/dev/null; then set -x; shellcheck scripts/*.sh .ci/run; \
	  else echo "skipped: shellcheck is not installed, the shell scripts were not checked"; fi

.PHONY: test-rust
test-rust: venv ## Rust tests (the Python module is tested from Python: only Python can link it)
	$(CARGO) test --workspace --exclude stonechat-python --no-fail-fast $(LOCKED)
	$(CARGO) test --package stonechat-broker --features shuttle $(LOCKED) interleavings

.PHONY: test-python
test-python: wheel natsload doors ## Stubs against the installed module, the tests of the Python package, and of the benchmark tool
	$(bin)/python -m mypy.stubtest stonechat
	$(with_natsload) $(with_wheel) $(with_doors) $(pytest) $(side_by_side) tests/python tests/bench

.PHONY: test-differential
test-differential: venv binary ## The same bytes to our server and to the real nats-server
	$(with_oracle) $(with_server) $(pytest) $(side_by_side) tests/differential

.PHONY: test-durability
test-durability: venv binary natsload powercut ## Kills, power cuts, damage: what JetStream acknowledged is there (STONECHAT_KILLS, _CUTS, _FLIPS)
	$(with_oracle) $(with_server) $(with_natsload) $(with_checker) $(with_powercut) $(pytest) tests/durability

.PHONY: soak
soak: venv binary powercut ## The same for hours, resumable: see scripts/soak.sh
	@CARGO='$(CARGO)' LOCKED='$(LOCKED)' $(with_oracle) $(with_server) $(with_powercut) PYTHON='$(bin)/python' scripts/soak.sh

.PHONY: test-clients
test-clients: wheel binary ## Real clients against our server, and one that asks too much
	$(with_oracle) $(with_tool) $(with_wheel) $(with_server) $(pytest) tests/clients tests/stalls

.PHONY: test-tutorials
test-tutorials: wheel binary image-if-docker ## Every step of every tutorial (on Docker Compose where it is)
	$(with_wheel) $(with_server) $(pytest) tutorials

.PHONY: test-docker
test-docker: venv image-if-docker ## The image and the Compose files
	STONECHAT_IMAGE=$(IMAGE) $(pytest) tests/docker

.PHONY: fuzz-short
fuzz-short: ## Every fuzz target for FUZZ_SECONDS seconds (5)
	@scripts/fuzz.sh $(FUZZ_SECONDS)

.PHONY: docs
docs: wheel ## Build the documentation into build/site, warnings are errors
	$(bin)/python -m mkdocs build --strict --quiet --site-dir build/site

.PHONY: capabilities
capabilities: venv ## Write the table of docs/capabilities.yaml into README.md and the site
	$(bin)/python scripts/capabilities.py

##@ Benchmarks

.PHONY: bench
bench: wheel binary natsload ## Measure against nats-server (BENCH=core, extra or a part; BENCH_RUNS, BENCH_SECS, BENCH_SCALE) into docs/benchmarks
	$(with_natsload) $(with_oracle) $(with_wheel) $(with_server) $(bin)/python -m tests.bench $(BENCH) --runs $(BENCH_RUNS) --secs $(BENCH_SECS) --scale $(BENCH_SCALE)

##@ Things to build

.PHONY: binary
binary: need-rust ## The server as one native program (static on Linux)
	RUSTFLAGS='$(strip $(RUSTFLAGS) $(static))' $(CARGO) build --release --target $(host) $(LOCKED) \
	  --package stonechat-server --bin stonechat-server
	@echo "server: $(server)"

# The whole server is in the command of the wheel; this one starts the program beside it.
.PHONY: command
command: need-rust ## The stonechat command as one native program (static on Linux), without the server in it
	RUSTFLAGS='$(strip $(RUSTFLAGS) $(static))' $(CARGO) build --profile command --target $(host) $(LOCKED) \
	  --package stonechat-cli --bin stonechat --no-default-features
	@echo "command: $(CARGO_TARGET_DIR)/$(host)/command/stonechat"

.PHONY: natsload
natsload: ## The load generator of the benchmarks (Linux)
	RUSTFLAGS='$(strip $(RUSTFLAGS) $(static))' $(CARGO) build --release --target $(host) $(LOCKED) \
	  --package stonechat-natsload

# The disk of the power cuts; a tool of the tests alone.
.PHONY: powercut
powercut:
	$(CARGO) build $(LOCKED) --package stonechat-powercut

# The Python module with ways to make a server fail, for a test; no wheel has them.
.PHONY: doors
doors: venv
	PYO3_BUILD_EXTENSION_MODULE=1 $(CARGO) build $(LOCKED) --package stonechat-python --features doors

.PHONY: wheel
wheel: need-rust venv ## The Python wheel, in build/wheels, installed into .venv
	rm -rf $(wheels)
	$(with_wheel) $(bin)/python -m maturin build --release $(LOCKED) --quiet $(portable) --interpreter $(bin)/python --out $(wheels)
	$(if $(portable),$(bin)/python -m auditwheel show $(wheels)/*.whl | grep manylinux_2_17_ >/dev/null || \
	  { echo "wheel: auditwheel does not find it fit for manylinux_2_17" >&2; exit 1; })
	$(bin)/python -m pip install --quiet --force-reinstall --no-deps $(wheels)/*.whl

.PHONY: image
ifneq (,$(findstring linux,$(host)))
image: need-docker binary ## The Docker image stonechat:latest (IMAGE=name:tag names it otherwise)
	scripts/image.sh $(IMAGE) $(server)
else
image: need-docker
	scripts/image.sh $(IMAGE)
endif

.PHONY: image-if-docker
image-if-docker:
	@if docker info >/dev/null 2>&1; then $(MAKE) --no-print-directory image; \
	  else echo "no Docker engine answers: no image is built"; fi

.PHONY: venv
venv: ## The Python environment of the checks, in .venv
	@PYTHON='$(PYTHON)' scripts/venv.sh $(venv)

.PHONY: labs
labs: ## One Python environment for all tutorials, in tutorials/.venv, with the server in it
	@PYTHON='$(PYTHON)' scripts/labs.sh

.PHONY: notebooks
notebooks: wheel ## Run the notebooks, save them with their outputs, and draw their thumbnails
	$(bin)/python scripts/notebooks.py run

##@ Housekeeping

.PHONY: lock
lock: ## Write python/requirements-dev.txt anew: the versions of all that the checks import (needs uv)
	scripts/lock.sh

.PHONY: clean
clean: ## Remove what the build made inside the clone
	rm -rf target build dist site .venv

.PHONY: help
help: ## Show this text
	@awk -F':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' \
	  $(firstword $(MAKEFILE_LIST))
