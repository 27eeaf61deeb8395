# Two commands: `make demo` and `make test`. Both set everything up in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ENCODER ?= efficientnet-lite0
SLIDE ?=
OUT ?= demo-output
NO_QT := PATHFM_NO_QT=1 $(BIN)/python -m pytest -p no:pytest-qt -p no:napari

.PHONY: demo test lint damaged-slides headless-test window-test soak bench screenshots sample clean

demo: $(READY)
	.ci/window $(BIN)/pathfm demo $(if $(SLIDE),"$(SLIDE)") --encoder $(ENCODER) --out $(OUT)

# Both halves at once: each of them keeps little more than one core busy. Damaged slides before them:
# what one may cost of the processor is limited, and a second program would make it dearer.
test: lint damaged-slides
	$(MAKE) --jobs 2 headless-test window-test

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Everything below the window, with Qt made impossible to import.
headless-test: $(READY)
	$(NO_QT) tests --ignore=tests/gui --ignore=tests/io/test_fuzz.py

damaged-slides: $(READY)
	$(NO_QT) tests/io/test_fuzz.py

window-test: $(READY)
	.ci/window $(BIN)/python -m pytest tests/gui

# What takes too long for every run: hundreds of kills, thousands of damaged slides, compilations.
soak: $(READY)
	PATHFM_KILLS=200 $(NO_QT) tests/io/test_kill.py tests/io/test_waiting.py \
		tests/analysis/test_embed_kill.py
	PATHFM_FUZZ=2500 $(NO_QT) tests/io/test_fuzz.py
	$(NO_QT) -m soak tests --ignore=tests/gui

bench: $(READY)
	$(BIN)/python -m benchmarks.catalog --json
	$(BIN)/python -m benchmarks.reading --json
	$(BIN)/python -m benchmarks.embedding --json
	$(BIN)/python -m benchmarks.retrieval --json
	$(BIN)/python -m benchmarks.importing --json
	$(BIN)/python -m benchmarks.stains --json
	$(BIN)/python -m benchmarks.prompting --json
	$(BIN)/python -m benchmarks.more --json
	.ci/window $(BIN)/python -m benchmarks.stalls --json
	.ci/window $(BIN)/python -m benchmarks.clicking --json
	.ci/window $(BIN)/python -m benchmarks.painting --json
	.ci/window $(BIN)/python -m benchmarks.objects --json
	.ci/window $(BIN)/python -m benchmarks.viewing --json

screenshots: $(READY)
	.ci/window $(BIN)/python docs/screenshots.py $(if $(SLIDE),"$(SLIDE)")

sample: $(READY)
	$(BIN)/python sample_data/make.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo-output build dist *.egg-info
