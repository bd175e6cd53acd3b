# Two commands, each sets up a fresh machine inside this folder: `make demo` and `make test`.
python ?= python3.11
venv := .venv/bin
tools := PATH=$$PWD/$(venv):$$PATH
sources := $(shell find cpp benchmarks -name '*.[ch]pp' 2>/dev/null)

alone := tests/core tests/control

.venv/ready: pyproject.toml constraints.txt CMakeLists.txt $(sources)
	test -x $(venv)/python || $(python) -m venv .venv
	$(venv)/pip install -q -c constraints.txt -e '.[deploy,camera,gamepad,record,export,train,test]'
	$(venv)/python -m compileall -q python plugins  # an editable install leaves this to the first runs
	touch $@

demo: .venv/ready
	$(venv)/rl demo

test: .venv/ready lint core-test
	# These measure time: nothing runs beside them.
	$(venv)/pytest -q $(alone)
	$(venv)/pytest -q -n 2 --dist loadfile $(addprefix --ignore ,$(alone))

lint: .venv/ready
	$(venv)/ruff check .
	$(venv)/ruff format --check .
	$(venv)/python tests/guards/assembled.py mypy
	$(venv)/python tests/guards/assembled.py lint-imports
	$(venv)/clang-format --dry-run --Werror $(sources)

# The core's own tests under the address and undefined-behaviour sanitizers, and under the thread sanitizer.
core-test: .venv/ready
	$(tools) cmake --workflow --preset asan
	$(tools) cmake --workflow --preset tsan

# A million random sequences of events against the state machine, and as many against the planner around it.
SEQUENCES ?= 1000000
sequences: .venv/ready
	$(tools) cmake --preset release
	$(tools) cmake --build --preset release --target rl_tests
	RL_SEQUENCES=$(SEQUENCES) build/release/cpp/tests/rl_tests "random events"

tidy: .venv/ready
	$(tools) cmake --preset release
	find cpp/src cpp/emulator -name '*.cpp' | xargs -P 2 -n 4 $(venv)/clang-tidy -quiet -p build/release

# A minute against the packet reader; FUZZ_SECONDS=36000 for a night. Needs clang++ with libFuzzer.
FUZZ_SECONDS ?= 60
fuzz: .venv/ready
	$(tools) cmake --preset fuzz
	$(tools) cmake --build --preset fuzz --target rl_fuzz_reader
	build/fuzz/cpp/fuzz/rl_fuzz_reader -max_total_time=$(FUZZ_SECONDS) -max_len=512 -print_final_stats=1

# After a change in cpp/: build and install the extension again.
core:
	rm -f .venv/ready
	$(MAKE) .venv/ready

.PHONY: demo test lint core-test sequences tidy fuzz core
