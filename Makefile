# make demo | make test | make lint; each makes its own environment in $(VENV) the first time. No root needed.
PYTHON ?= python3
VENV ?= .venv
DEMO_FOLDER ?= permfc-demo
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo test lint clean

demo: $(VENV)/.stamp-demo
	$(BIN)/permfc demo -o $(DEMO_FOLDER)

test: $(VENV)/.stamp-test
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.stamp-lint
	$(BIN)/ruff check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp a set of extras: pip runs only when pyproject.toml has changed since.
$(VENV)/.stamp-%: pyproject.toml | $(BIN)/python
	@echo "Installing the packages for make $* into $(VENV) (about a minute, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) build $(DEMO_FOLDER)
