PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: app install test slow lint format bench checkpoints

# The app, on http://127.0.0.1:8501; STREAMLIT_SERVER_ADDRESS and STREAMLIT_SERVER_PORT move it.
app: $(VENV)/.app
	$(BIN)/streamlit run app.py

install: $(VENV)/.dev

# Made anew only when the requirements change.
$(VENV)/.app: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements-dev.txt
	touch $@ $(VENV)/.app

# Two processes: one for all that wants a browser, then both for the rest.
test: install lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every shipped pair anew: training takes about four hours of one core, the rest about forty minutes.
checkpoints: install
	$(BIN)/python -m symeq_core ship --all
	$(BIN)/python -m symeq_core evaluate --write checkpoints/*-*
	$(BIN)/python -m symeq_core project --write checkpoints/*-*
	$(BIN)/python -m symeq_core project --joint --write checkpoints/*-*
	$(BIN)/python -m symeq_core chain --write checkpoints/*-*

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m bench.step
	$(BIN)/python -m bench.app
