# `make demo` and `make test` are all a newcomer needs; each sets up .venv by itself, once.

# 3.11 first: it is the version that the pins in constraints.txt were frozen with.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.installed
# Libraries are compiled when they are first imported (see below). Where that may not be written, as in
# many containers, every command would take a quarter of a minute for it again.
export PYTHONDONTWRITEBYTECODE :=
PROMPT ?= a red star drifts left over the sea at night
OUT ?= outputs/demo.mp4

# Two workers with one thread each finish sooner than one worker with two threads.
# A file goes to one of them, so that what its tests share is made once; in the order of the
# folders, or files of few long tests would come last, when one worker waits for the other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-all check format bench clean

help:
	@echo "make demo    a video from a prompt (PROMPT='...' OUT=file.mp4)"
	@echo "make test    the tests"
	@echo "make test-all    those too that take half a minute each"
	@echo "make check   format, lint, types, spelling, fast tests"
	@echo "make format  let ruff rewrite what it can"
	@echo "make bench   benchmarks"

# torch goes first and alone: whatever else is installed later finds the pinned build in place
# and cannot pull in another one. Python compiles what is imported when it first is: to compile all
# of these libraries now would take longer than to fetch them.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --quiet -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --no-compile --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@mkdir -p $(dir $(OUT))
	$(BIN)/mutoscope generate "$(PROMPT)" --seed 0 --out $(OUT) --sheet

test: $(STAMP)
	$(PYTEST) -m "not long"

test-all: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(PYTEST) -m "not slow and not long"

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/run.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
