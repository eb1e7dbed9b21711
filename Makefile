# Two commands are enough: `make demo` and `make test`.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: demo test ui mlflow-ui lint benchmark clean

demo: $(VENV)/.installed
	$(BIN)/mlops demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

ui: $(VENV)/.installed
	$(BIN)/mlops ui

mlflow-ui: $(VENV)/.installed
	$(BIN)/mlops mlflow-ui

# KITTI=FOLDER and KITTI_REFERENCE=FOLDER name the real data, which is not part of the project: see benchmarks/kitti.py
benchmark: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet -e .[bench] -c constraints.txt
	$(BIN)/python benchmarks/loop.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/table.py
	KITTI="$(KITTI)" KITTI_REFERENCE="$(KITTI_REFERENCE)" $(BIN)/python benchmarks/kitti.py

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once, about a minute)"
	$(BIN)/pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e .[dev] -c constraints.txt
	@touch $@

clean:
	rm -rf $(VENV) .mlops .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
