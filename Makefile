# Targets set themselves up: `make demo` and `make test` run on a fresh machine with Python 3.11 to 3.13.
VENV := .venv
BIN  := $(VENV)/bin
# The versions that will do, requirements.txt knows both sets; the interpreters in the order they are tried, or
# the one that PYTHON names and no other.
VERSIONS := 3.11 3.12 3.13
NAMES = $(if $(PYTHON),"$(PYTHON:~/%=$(HOME)/%)",python3 python3.11 python3.12 python3.13 python)
# Behind an interpreter: which Python it is. Nothing of one that does not run, as a shim can be there and do
# nothing; nor of PyPy and of free-threaded Python, for which TensorFlow has no wheels.
WHICH = -c 'import sys, sysconfig; sys.implementation.name == "cpython" and not \
  sysconfig.get_config_var("Py_GIL_DISABLED") and print("%d.%d" % sys.version_info[:2])' 2>/dev/null
export TF_CPP_MIN_LOG_LEVEL ?= 3
# A test process for each core; one that is done takes tests from another.
SPREAD := -n auto --dist worksteal
FAST = $(BIN)/python -m pytest -m "not slow" $(SPREAD) $(TESTS)

.PHONY: setup interpreter demo test test-newest test-durations test-browser slow lint check bench docs format clean
.DEFAULT_GOAL := demo

setup: $(VENV)/.runtime

# A venv that is there is asked each time: the Python that made it may be gone, or another one by now.
interpreter:
	@will_do() { is=$$("$$1" $(WHICH)); case " $(VERSIONS) " in *" $$is "*) ;; *) false ;; esac; }; \
	fail() { echo "error: $$*" >&2; exit 1; }; \
	if [ -e $(BIN)/python ] || [ -L $(BIN)/python ]; then \
	  will_do $(BIN)/python && [ -d $(VENV)/lib/python$$is ] || fail "$(VENV): its Python is $${is:-none that runs}," \
	    "expected the one that made it, of $(VERSIONS); remove that folder, then the same command makes it anew"; \
	  of=$$is; [ -z "$(PYTHON)" ] || { will_do $(NAMES); [ "$$is" = $$of ]; } || fail "$(VENV) is of Python $$of," \
	    "PYTHON=$(PYTHON) is $${is:-none that runs}; remove that folder, or VENV=.venv-other beside it"; \
	  exit 0; fi; \
	[ -e $(VENV) ] || new=yes; \
	for name in $(NAMES); do \
	  will_do "$$name" || { seen="$$seen$${is:+, $$name is $$is}"; continue; }; \
	  echo "using $$name, Python $$is"; "$$name" -m venv $(VENV) && exit 0; \
	  [ -z "$$new" ] || rm -rf $(VENV); without="$$without '$$name -m venv'"; done; \
	[ -z "$$without" ] || fail "failed:$$without; on Debian: apt-get install python3-venv"; \
	$(if $(PYTHON),seen=;) fail "$(if $(PYTHON),PYTHON=$(PYTHON) is $${is:-none that runs}; )Python $(VERSIONS) is needed, one of" \
	  "them$${seen:+ ($${seen#, })}; put it on PATH or: make PYTHON=/path/to/python$(lastword $(VERSIONS))"

$(VENV)/.runtime: requirements.txt pyproject.toml | interpreter
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null 2>&1 || { echo \
	  "error: $(VENV) has no pip; remove that folder, then the same command makes it anew" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -r requirements.txt
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { echo "no libGL here: taking opencv-python-headless"; \
	  $(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    $$(sed -n 's/^opencv-python\(==[0-9.]*\).*/opencv-python-headless\1/p' requirements.txt); }
	@$(BIN)/python -c 'import importlib.util as u; u.find_spec("tensorflow_addons") or exit(1)' || $(ADDONS) || \
	  echo "tensorflow-addons has no wheel that runs here: our own code takes its place (attnrobust/stack.py)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Its last wheels are for Python 3.11. What is used of them is plain Python and operations of TensorFlow,
# bound to no interpreter, so on newer ones the wheel is placed by hand.
ADDONS = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --implementation cp --python-version 3.11 --abi cp311 --platform manylinux2014_$$(uname -m) \
  --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
  $$(sed -n 's/^\(tensorflow-addons==[0-9.]*\).*/\1/p' requirements.txt)

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@grep -v '^-r' requirements-dev.txt > $(VENV)/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -r $(VENV)/dev.txt
	@touch $@

demo: $(VENV)/.runtime
	$(BIN)/python -m attnrobust demo

test: $(VENV)/.dev
	$(FAST)

# The other set of versions, in a venv of its own: the newest of Python 3.13 and 3.12 that is here, pyenv's
# included. A selection that meets both sets' differences; all of the fast tests: TESTS=tests.
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions
test-newest: TESTS = $(addprefix tests/,test_stack.py test_heads.py test_augmentation.py test_outputs.py \
  test_engine.py test_state.py test_report_figures.py test_export.py)
test-newest:
	@for name in python3.13 $(wildcard $(PYENV)/3.13*/bin/python) python3.12 $(wildcard $(PYENV)/3.12*/bin/python); do \
	  case $$($$name $(WHICH)) in 3.12 | 3.13) \
	    exec $(MAKE) test VENV=.venv-newest PYTHON=$$name TESTS="$(TESTS)" ;; \
	  esac; done; echo "left out: the tests on the newer set of versions, neither Python 3.13 nor 3.12 is here"

# The 25 slowest, and what each costs in CPU seconds, processes that it starts included.
test-durations: $(VENV)/.dev
	$(FAST) --durations=25 --cpu-durations=25

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow and not browser" $(SPREAD)

# The page in headless Chromium; where root has none it is installed, else the tests say why they skip.
test-browser: $(VENV)/.dev
	@command -v chromium chromium-browser google-chrome >/dev/null || [ "$$(id -u)" != 0 ] \
	  || { apt-get update -q && apt-get install -qy --no-install-recommends chromium; } \
	  || echo "no Chromium here, and it could not be installed" >&2
	$(BIN)/python -m pytest -m browser tests/test_browser.py

# All of them, whichever fails: one round tells everything.
lint: $(VENV)/.dev
	@failed=; for each in "ruff format --check ." "ruff check ." mypy lint-imports; do \
	  echo "$$each"; $(BIN)/$$each || failed="$$failed '$$each'"; \
	done; [ -z "$$failed" ] || { echo "make lint: failed:$$failed" >&2; exit 1; }

check: lint
	$(FAST)

# Peers want other packages than ours, and TensorFlow 2.15, so they get a venv of their own. BENCH=--quick for a smoke run.
bench: .venv-bench/.bench
	.venv-bench/bin/python -m benchmarks.attack_sweep $(BENCH)

.venv-bench/.bench: requirements-bench.txt requirements.txt
	$(MAKE) VENV=.venv-bench VERSIONS=3.11 .venv-bench/.runtime
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --progress-bar off -r requirements-bench.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps cleverhans==4.0.0
	@touch $@

# The site, site/index.html; a dead link fails. `make docs DOCS=serve` shows it while pages change.
DOCS = build

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs $(DOCS) --strict

$(VENV)/.docs: requirements-docs.txt $(VENV)/.runtime
	@grep -v '^-r' requirements-docs.txt > $(VENV)/docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -r $(VENV)/docs.txt
	@touch $@

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What `make` made, and nothing else: raw data beside the demo's, records, runs and pages stay.
DEMO_RUNS = runs/demo/resnet18_gap/seed-0 runs/demo/resnet18_soft_attention/seed-0

clean:
	rm -rf $(VENV) .venv-bench .venv-newest $(DEMO_RUNS)
	[ ! -f tfrecords/raw/demo/synthetic.json ] || rm -rf tfrecords/raw/demo
	! grep -qs '"name": "demo"' tfrecords/shards/demo/dataset.json || rm -rf tfrecords/shards/demo
	[ ! -f reports/demo/report.json ] || rm -rf reports/demo
	[ ! -f site/search/search_index.json ] || rm -rf site
	find attnrobust benchmarks experiments tests tfrecords/__pycache__ -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
