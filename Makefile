# `make` shows what there is. `uv` is used when present, else installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
SYNCED := $(VENV)/.synced
export UV_PROJECT_ENVIRONMENT := $(VENV)

.DEFAULT_GOAL := help
.PHONY: help demo test dev jars docs ui lint format check types audit bench soak kill-matrix contracts clean

##@ Use
demo: $(SYNCED) ## Migrate the sample database through the embedded sandbox and compare it
	@$(BIN)/migration-assets demo

dev: $(SYNCED) ## Start the sandbox and Dagster's UI on it (http://127.0.0.1:3000)
	@$(BIN)/migration-assets dev

jars: $(SYNCED) ## Fetch the jars of the Spark engine (120 MB)
	@$(BIN)/migration-assets jars

##@ Develop
# Three test processes for two cores: half of the time a test waits for what it started.
test: $(SYNCED) ## Run all tests
	@$(BIN)/pytest -n $$($(BIN)/python -c "import os; print(os.cpu_count() * 3 // 2)") --dist loadfile --no-loadscope-reorder --durations=25

check: lint types ## Everything that needs no server: lock, lint, types, import directions

lint: $(SYNCED) ## Lock file, ruff and the direction of imports
	@$(UV) lock --check --quiet
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(SYNCED) ## mypy, strict
	@$(BIN)/mypy

audit: $(SYNCED) ## Look for known vulnerabilities of the locked dependencies (asks osv.dev)
	@$(UV) export --quiet --frozen --all-extras --all-groups --no-emit-project --no-hashes \
		| $(BIN)/python -m migration_assets_tests.audit

format: $(SYNCED) ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(SYNCED) ## Build docs/ as a site into site/; a warning is an error
	@$(BIN)/mkdocs build --strict --quiet

ui: $(SYNCED) ## Click through the UI in headless Chromium; screenshots go to docs/
	@$(BIN)/python docs/screenshots.py

bench: $(SYNCED) ## Run the benchmarks (minutes)
	@for script in extract commit overhead; do $(BIN)/python benchmarks/$$script.py; done

soak: $(SYNCED) ## Migrate 342 tables, 7.8 million rows, through few connections and a failing S3 (15 min)
	@$(BIN)/python -m migration_assets_tests.reliability.soak

kill-matrix: $(SYNCED) ## Kill a migration at 100 random moments, go on, compare; writes docs/kill-matrix.md (an hour)
	@$(BIN)/python -m migration_assets_tests.reliability.kill_matrix --kills 100 --page docs/kill-matrix.md

contracts: $(SYNCED) ## Take each contract out of the code and see its test fail (RULES="names")
	@$(BIN)/python -m migration_assets_tests.contracts $(RULES)

clean: ## Remove what make made
	rm -rf $(VENV) site .sandbox .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(SYNCED): pyproject.toml uv.lock
	@test -x "$(UV)" || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet uv; }
	@$(UV) sync --quiet --frozen --inexact --all-extras
	@touch $@

help:
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
