# Every command sets up what it needs: Python 3.11 or newer with venv, git and make are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo test pytest test-dask test-iam test-faults simulate fuzz audit sbom pinned-base protections strength soak check lint format lock clean

help:     ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 18

install: $(READY)  ## .venv/ with the locked dependencies and the command sensor-ingest

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sensor-ingest needs Python 3.11 or newer; say which with: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## the main job on this machine: a file dropped, loaded, moved, waited for and emailed about
	$(BIN)/sensor-ingest demo

test: $(READY)  ## everything that must pass before a commit: format, lint, types, tests
	@$(MAKE) --no-print-directory --jobs 2 lint pytest

pytest: $(READY)
	$(BIN)/python -m pytest --numprocesses 4

test-dask: $(READY)  ## a file shared out among the workers of a local Dask cluster
	$(BIN)/python -m pytest tests/flows/loading/dask

test-iam: $(READY)  ## the whole job with the roles of the templates, which localemu enforces (a virtual environment of its own)
	$(PYTHON) -m venv $(VENV)/iam
	$(VENV)/iam/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/iam/requirements.txt
	$(BIN)/python -m pytest tests/iam --localemu $(VENV)/iam/bin/python

test-faults: $(READY)  ## kill -9, SIGSTOP, newer versions and misbehaving AWS at each step; slow; writes docs/reliability.md
	$(BIN)/python -m pytest tests/faults --numprocesses 2 --deselect tests/faults/test_soak.py --write-report docs/reliability.md

SEEDS ?= 100000
simulate: $(READY)  ## many seeds of the simulation of who owns a file, SEEDS=100000 of them; SEED=n shows one
	SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/simulation/test_ownership.py -s

protections: $(READY)  ## removes each protection from a copy and names the tests that fail; writes docs/reliability.md
	$(BIN)/python -m tests.faults.protections --write-report docs/reliability.md

EXAMPLES ?= 20000
fuzz: $(READY)  ## random answers, messages, rows and feeds to what parses them, EXAMPLES=20000 of each
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz

IMAGE_LOCK := deployments/aws/image-requirements.lock
audit:    ## known vulnerabilities of the locked packages (needs a network; a virtual environment of its own)
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check "pip-audit>=2.10,<3"
	$(VENV)/audit/bin/pip-audit --disable-pip --require-hashes --requirement requirements.lock --requirement $(IMAGE_LOCK)

SBOM ?= sbom.json
sbom:     ## the packages of the image as CycloneDX JSON, in SBOM=sbom.json (needs a package index)
	$(PYTHON) -m venv $(VENV)/sbom
	$(VENV)/sbom/bin/python -m pip install --quiet --disable-pip-version-check "cyclonedx-bom>=7.5,<8"
	$(VENV)/sbom/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file $(SBOM) $(IMAGE_LOCK)

pinned-base:  ## the image's base with its digest, to give to docker build (needs docker and a network)
	@base=$$(sed -n 's/^ARG BASE=//p' Dockerfile); docker pull --quiet $$base >/dev/null \
		&& docker image inspect --format "BASE=$${base}@{{index (split (index .RepoDigests 0) \"@\") 1}}" $$base

STRENGTH_SEEDS ?= 5000
strength: $(READY)  ## as protections, with the simulation: how many seeds it needs to find each; writes docs/reliability.md
	$(BIN)/python -m tests.simulation.strength --seeds $(STRENGTH_SEEDS) --write-report docs/reliability.md

MINUTES ?= 20
soak: $(READY)    ## random kills and stalls under a steady drop of files, for 20 minutes or MINUTES=…
	$(BIN)/python -m pytest tests/faults/test_soak.py -s --minutes $(MINUTES)

check: lint  ## format, lint, types, the direction of imports and the AWS templates, without other tests
	$(BIN)/python -m pytest tests/deployments/aws/test_template_rules.py

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint deployments/aws/*.yaml

format: $(READY)  ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

RESOLVE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet --upgrade
lock:  ## resolve the dependencies anew, for people and for the image (needs uv; only for maintainers)
	$(RESOLVE) --all-extras --output-file requirements.lock
	echo setuptools | $(RESOLVE) - --extra dask --constraint requirements.lock --output-file deployments/aws/image-requirements.lock

clean:  ## remove the virtual environment and the embedded stack's data
	rm -rf $(VENV) .local
