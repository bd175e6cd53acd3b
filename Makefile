# Two commands, each sets up a fresh machine inside this folder: `make demo` and `make test`.
python ?= python3.11
venv := .venv/bin
core := CMakeLists.txt pyproject.toml $(shell find cpp -name '*.[ch]pp' 2>/dev/null)

.venv/ready: pyproject.toml constraints.txt CMakeLists.txt $(shell find cpp -name '*.[ch]pp' 2>/dev/null)
	test -x $(venv)/python || $(python) -m venv .venv
	$(venv)/pip install -q -c constraints.txt -e '.[deploy,camera,record,export,train,test]'
	touch $@

demo: .venv/ready
	$(venv)/rl demo

test: .venv/ready lint core-test
	$(venv)/pytest -q -n 2

lint: .venv/ready
	$(venv)/ruff check .
	$(venv)/ruff format --check .
	$(venv)/python tests/guards/assembled.py mypy
	$(venv)/python tests/guards/assembled.py lint-imports
	$(venv)/clang-format --dry-run --Werror $$(find cpp -name '*.[ch]pp')

core-test: .venv/ready
	PATH=$$PWD/$(venv):$$PATH cmake --workflow --preset asan
	PATH=$$PWD/$(venv):$$PATH cmake --workflow --preset tsan

.PHONY: demo test lint core-test
