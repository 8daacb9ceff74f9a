.DEFAULT_GOAL := help
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
TORCH_INDEX ?= # of pip, from which torch is installed first: one for CPUs saves what GPUs need

# one process more than two cores have: some tests wait for other programs
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal --durations=40 --durations-min=2

.PHONY: help setup demo test test-slow test-all coverage lint format docs bench gpu wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(VENV)/.done ## make .venv with all extras: 7 GB on Linux, 4 GB less with TORCH_INDEX

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "restore needs Python 3.10 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt --index-url $(TORCH_INDEX) torch torchvision)
	$(BIN)/python -m pip install --quiet --no-compile --upgrade-strategy only-if-needed -c constraints.txt -e '.[dev]'
	@touch $@

# a number of steps and no max_time: on a busy machine a time holds too few to be better than bicubic
demo: setup ## train on the embedded photos, compare with bicubic, enlarge one photo: a minute or two
	$(BIN)/python -m restore.fit name=demo run_id=demo trainer.max_steps=100 model.lr=2e-3 val_every_steps=50
	$(BIN)/python -m restore.evaluate ckpt_path=outputs/demo/demo/checkpoints/best.ckpt output=outputs/demo/evaluate save_images=true
	$(BIN)/python -m restore.predict ckpt_path=outputs/demo/demo/checkpoints/best.ckpt \
		input=$$($(BIN)/python -c 'from restore.data.embedded_photos import embedded; print(embedded("photos_held_out")[0])') \
		output=outputs/demo/chelsea_x2.png
	@echo 'enlarged photo:  outputs/demo/chelsea_x2.png'
	@echo 'bicubic, restored, original side by side:  outputs/demo/evaluate/sheets/photos_held_out/'
	@echo 'curves:  outputs/demo/demo/curves.png'
	@echo 'to go on yourself:  . $(BIN)/activate'

test: setup ## run the quick tests, in three processes
	$(PYTEST) -m "not slow"

test-slow: setup ## run the slow ones: real trainings, kills, browser, Slurm, the documents' commands
	$(PYTEST) -m slow

test-all: setup ## run all tests, and list the slowest
	$(PYTEST)

coverage: setup ## run all tests and show which lines of restore/ none of them reaches
	$(PYTEST) --cov=restore --cov-report=term-missing:skip-covered

lint: setup ## check format, style, types and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## build the documents, build/docs/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

bench: setup ## measure start-up, data path, training step and memory
	$(BIN)/python -m restore.benchmark

gpu: setup ## with a GPU: what a CPU cannot show, tests and speed, one table in at most nine minutes
	$(BIN)/python -m experiments.performance.gpu

wheel: setup ## build dist/*.whl
	$(BIN)/python -m build --wheel

clean: ## remove what the targets made, but no run
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
