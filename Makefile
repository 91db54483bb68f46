# Every target sets up what it needs; `make` alone tells what there is.

PY      := .venv/bin/python
NSDATA  := .venv/bin/nsdata
SHARED  ?= $(or $(NSDATA_SHARED),../shared)
SECONDS_TO_FUZZ ?= 60
JOBS    ?= $(shell nproc 2>/dev/null || echo 1)
SOURCES := $(shell find nsdata -name '*.pyx' -o -name '*.px[di]' -o -name '*.h')

# cython-lint calls pycodestyle by name.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test bench check laws conformance fuzz synth regs captures record clean distclean formal formal-mutants \
        rtl sim sim-full sim-coverage wave

help: ## say what each target does
	@echo "nsdata: inline packet inspection that fails open. Targets:"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo "New here? Start with: make demo"

# Two stamps: what is installed, and what is compiled. Both make a second run quick.
.venv/.installed: pyproject.toml packages.txt tools/venv.sh tools/packages.sh tools/find_python.sh
	@tools/venv.sh
	@touch $@

# A changed setup.py may change flags, which distutils does not notice: then build all anew.
.venv/.built: .venv/.installed $(SOURCES) setup.py
	@echo "building the packet path (the first time takes a few minutes)"
	@mkdir -p build
	@force=; [ -f $@ ] && [ setup.py -nt $@ ] && force=--force; \
	  $(PY) setup.py -q build_ext --inplace -j$(JOBS) $$force >build/build.log 2>&1 \
	  || { cat build/build.log; echo "nsdata: the build failed; the log is build/build.log" >&2; exit 1; }
	@touch $@

setup: .venv/.built ## system packages, .venv, the compiled packet path, .venv/bin/nsdata

demo: setup ## replay the project's own capture, once calmly and once over-subscribed
	@demo/run.sh

test: setup ## run every test, and the representative part of the simulation
	@tools/packages.sh server browser || echo "without these: tests of PostgreSQL and of the pages are skipped"
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

bench: setup ## measure each stage and the whole replay
	$(PY) -m pytest benches --benchmark-only $(PYTEST_ARGS)

# All of them run, so that one report says everything; the status is that of the worst.
check: setup ## linters, types, laws, and no hidden GIL in the packet path
	@status=0; \
	for step in '.venv/bin/ruff check .' '.venv/bin/cython-lint nsdata' '.venv/bin/mypy' \
	    '$(PY) -m pytest tests/test_laws.py' '$(PY) tools/gil_hints.py'; do \
	  echo "== $$step"; $$step || { status=1; failed="$$failed\n  $$step"; }; \
	done; \
	[ $$status = 0 ] && echo "check: all is well" || printf "check: FAILED:$$failed\n" >&2; \
	exit $$status

laws: setup ## who may import whom, file sizes, docstrings
	$(PY) -m pytest tests/test_laws.py

conformance: setup ## shared conformance cases, when they are there (LEVELS=L1)
	@if [ ! -f $(SHARED)/conformance/run_conformance.py ]; then \
	  echo "no $(SHARED)/conformance here; say where it is with: make conformance SHARED=DIR"; exit 0; fi; \
	mkdir -p out && $(PY) $(SHARED)/conformance/run_conformance.py $(SHARED)/conformance/cases \
	  --levels $(or $(LEVELS),L1) \
	  --command '$(CURDIR)/$(NSDATA) replay {pcap} --rules {rules} --eve {eve} {extra}' \
	  --config-mode pass \
	  --strict-arg=--strict --json out/conformance.json --show fail $(CONFORMANCE_ARGS)

formal: setup ## prove the FPGA block's fail-open properties (ONLY=text, LIST=1, JOBS=2)
	$(PY) sim/formal/run.py --only '$(ONLY)' --jobs $(JOBS) $(if $(LIST),--list)

formal-mutants: setup ## broken copies of the FPGA block: the proofs must reject each one
	$(PY) sim/formal/run.py --mutants --only '$(ONLY)' --jobs $(JOBS) $(if $(LIST),--list)

fuzz: setup ## fuzz the decoder and the capture readers (SECONDS=60)
	@tools/packages.sh fuzz
	tests/fuzz/run.sh $(or $(SECONDS),$(SECONDS_TO_FUZZ))

rtl: setup ## compile the FPGA block for the rtl transport: 64 b and 512 b into build/rtl
	$(PY) -m nsdata.offload.rtl

sim: setup ## simulate the FPGA block: the representative part (cocotb and Verilator)
	$(PY) -m pytest sim -n $(JOBS) $(PYTEST_ARGS)

sim-full: setup ## simulate everything, with the million frames; write the tables in docs
	NSDATA_FULL=1 NSDATA_WRITE_DOCS=1 $(PY) -m pytest sim -n $(JOBS) $(PYTEST_ARGS)

sim-coverage: setup ## line, branch and functional coverage of the FPGA block, with its bars
	rm -rf build/coverage
	NSDATA_COVERAGE=1 $(PY) -m pytest sim -n $(JOBS) $(PYTEST_ARGS) || echo "tests failed" >&2
	$(PY) -m sim.coverage

$(if $(filter wave,$(MAKECMDGOALS)),$(if $(TEST),,$(error give TEST=, for example: \
  make wave TEST=sim/verdict (a directory, a file, or sim/spine/test_spine.py::test_spine))))

wave: setup ## one simulated test with waves (TEST=sim/spine/test_spine.py::name, CASE=cocotb_test)
	@tools/packages.sh waves || echo "without these: VCD, not FST"
	NSDATA_WAVES=1 NSDATA_CASE='$(CASE)' $(PY) -m pytest -s '$(TEST)'

synth: setup ## synthesise the FPGA block: cells and clock on ECP5, cells on UltraScale+
	$(PY) -m sim.synth $(SYNTH_ARGS)

regs: setup ## generate the register block, its Python, C and documentation from hdl/regs/nsd.rdl
	$(PY) tools/make_regs.py

captures: setup ## make the format variants of tests/captures/office.pcap again
	$(PY) tools/make_variants.py

record: setup ## record tests/captures/office.pcap anew (root; network namespaces)
	@tools/packages.sh record
	$(PY) tools/record_demo.py tests/captures/office.pcap

clean: ## remove what was built and written, keep .venv
	rm -rf build out .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .venv/.built
	find nsdata tests benches tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	find nsdata -name '*.so' -delete

distclean: clean ## also remove .venv
	rm -rf .venv *.egg-info
