# Every target installs what it lacks. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export CARGO_TERM_PROGRESS_WHEN ?= auto

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## the main job on embedded defaults: simulate, score, summarise
	@scripts/demo.sh

.PHONY: test
test: ## every behaviour once
	@scripts/test.sh

.PHONY: test-all
test-all: ## the long runs as well
	@scripts/test.sh --all

.PHONY: deploy-test
deploy-test: ## everything under deploy/: manifests, settings, policies, alerts, images' recipes
	@scripts/test.sh --only deploy,monitoring,monitoring-live,packaging

.PHONY: lint
lint: ## formatting, clippy, documentation, licences
	@scripts/test.sh --only format,clippy,docs,deny

.PHONY: bench
bench: ## criterion benchmarks of every part
	@scripts/setup.sh build
	cargo bench --locked

.PHONY: bench-versus
bench-versus: ## the tree evaluator beside ONNX Runtime, LightGBM and lleaves, in one run
	@benches/peers/versus.sh

.PHONY: model
model: ## the shipped model, from the simulator's seed to the file
	@deploy/training/model.sh

.PHONY: handbook
handbook: ## train and evaluate on the handbook's data: make handbook DATA=transactions.parquet OUT=folder
	@[ -n "$(DATA)" ] && [ -n "$(OUT)" ] || { echo "usage: make handbook DATA=<transactions.parquet> OUT=<folder>" >&2; exit 64; }
	@deploy/training/handbook.sh "$(DATA)" "$(OUT)"

.PHONY: mlops-test
mlops-test: ## the retraining loop on real Airflow and MLflow, with its timeline
	@scripts/mlops.sh

.PHONY: clean
clean: ## outputs of demo and tests; builds and downloads stay
	rm -rf out
