# Two commands do everything on a fresh Linux machine with Python 3.11 or newer: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint checked clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/.ready
	mkdir -p demo
	$(BIN)/sdr2hdr convert examples/tears_of_steel.webm demo/tears_of_steel_hdr10.mkv --model wmnet -y -v
	$(BIN)/sdr2hdr probe demo/tears_of_steel_hdr10.mkv

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/.ready
	$(MAKE) --no-print-directory --jobs 2 checked lint

checked:  # a process for each core: more threads would wait for each other
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest --numprocesses auto --dist loadfile

clean:
	rm -rf $(VENV) demo
