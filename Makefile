# Everything a person does here, one target each. `make` alone lists them.
# ARGS goes to the program of a target: make train ARGS="--steps 200000 --seed 3".
# CARGO_FLAGS goes to cargo: make test CARGO_FLAGS=--locked.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

ARGS ?=
CARGO_FLAGS ?=
RUN ?=

MINUTES ?= 1

SHARDS ?= 3
cluster-local: ACTORS ?= 4
study: ACTORS ?= 8 16 32

.PHONY: help setup train cluster-local images k8s-secrets k8s-trial study test check fuzz bench bench-all bench-peers report clean distclean

help: ## list the targets
	@printf 'make TARGET, where TARGET is\n'
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  \1|\2/p' Makefile | while IFS='|' read -r target what; do printf '%-13s %s\n' "$$target" "$$what"; done

setup: ## fetch libtorch once into .libtorch (CPU: 540 MB; with CUDA=1 2.5 GB), and say what is missing on this machine
	@scripts/setup-libtorch.sh

train: setup ## train on the built-in world; ends with a table and a report (ARGS="--steps N --env LOG --run-dir DIR ...")
	@echo "train: building the learner in release mode (ten to fifteen minutes the first time on 2 cores), then training for some minutes"
	cargo run --release $(CARGO_FLAGS) -p learner -- $(ARGS)

cluster-local: setup ## a cluster on this machine: redis, SHARDS replay shards, ACTORS actors, a learner (ACTORS=4 SHARDS=3)
	@ACTORS=$(ACTORS) SHARDS=$(SHARDS) CARGO_FLAGS="$(CARGO_FLAGS)" scripts/cluster-local.sh $(ARGS)

images: setup ## container images for Kubernetes, with docker or podman (TARGETS="replay actor learner learner-cuda")
	@CARGO_FLAGS="$(CARGO_FLAGS)" scripts/images.sh

k8s-secrets: ## fill the cluster's Secret from this machine, where the Job in k8s/ cannot
	@CARGO_FLAGS="$(CARGO_FLAGS)" scripts/k8s-secrets.sh

k8s-trial: ## try k8s/ on the cluster of kubectl's context, where no run is: launched, scaled, broken, taken away
	@scripts/k8s-trial.py

study: setup ## the same run with several numbers of actors on a Kubernetes cluster (ACTORS="8 16 32")
	@ACTORS="$(ACTORS)" CARGO_FLAGS="$(CARGO_FLAGS)" scripts/k8s-study.sh

test: setup ## all that CI runs: formatting, lints, every test, docs
	@CARGO_FLAGS="$(CARGO_FLAGS)" scripts/test.sh formatting lints tests docs

check: setup ## the quick part of test: formatting and lints
	@CARGO_FLAGS="$(CARGO_FLAGS)" scripts/test.sh formatting lints

fuzz: setup ## random and damaged bytes into every decoder, so many minutes each (MINUTES=10)
	@MAHRL_FUZZ_MINUTES=$(MINUTES) cargo test $(CARGO_FLAGS) --workspace --lib fuzz_ -- --nocapture --test-threads=2

bench: setup ## environment steps, transitions and updates a second, where the time goes; shards and weights over sockets
	@echo "bench: building in release mode, then measuring the training loop and the services"
	cargo bench $(CARGO_FLAGS) -p learner --bench training_loop -- $(ARGS)
	cargo bench $(CARGO_FLAGS) -p learner --bench services

bench-all: setup ## every benchmark of every crate
	@echo "bench-all: building in release mode, then measuring every crate"
	cargo bench $(CARGO_FLAGS) --workspace --benches

bench-peers: setup ## ours against PyTorch, Reverb, cpprb, redis and bare transports (UPDATE_DOCS=1 writes docs/benchmarks.md)
	@CARGO_FLAGS="$(CARGO_FLAGS)" scripts/bench-peers.sh

report: ## show the newest run's report (or RUN=runs/NAME)
	@scripts/show-report.sh $(RUN)

clean: ## remove what cargo built and half-done downloads; keeps .libtorch and runs
	@echo "clean: removing target/ and .libtorch.tmp/ (.libtorch/ and runs/ stay)"
	@rm -rf .libtorch.tmp
	@if command -v cargo >/dev/null; then cargo clean; else rm -rf target; fi

distclean: clean ## clean, and libtorch too; runs stay
	@echo "distclean: removing .libtorch/ (make setup fetches it again)"
	@rm -rf .libtorch
