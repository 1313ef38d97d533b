# Everything on a bare machine: Python >= 3.11, git and make; root or not.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
RUN := $(BIN)/surefoot

.PHONY: demo test lint bench bench-quick bench-dashboard bench-curvature bench-blocks bench-rescue bench-autopilot bench-blackbox bench-replay screenshots zoo docs clean

demo: $(VENV)/.demo
	@echo; echo "== 1. A deep net that learns nothing, watched =="
	$(RUN) run examples/deep_plain_net.py
	@echo; echo "== 2. Its first remedy, tried beside doing nothing =="
	$(RUN) try --metric "held-out accuracy" --seeds 4 --report report.html examples/deep_plain_net.py -- --seed {seed}
	@echo; echo "== 3. A corrupted batch =="
	$(RUN) run examples/loss_spike.py
	@echo; echo "== 4. A NaN born in a module =="
	$(RUN) run examples/nan_in_module.py
	@echo; echo "The report of the first run and its trial: $(CURDIR)/report.html"

test: $(VENV)/.test
	$(BIN)/python hatch_build.py
	SUREFOOT_BROWSER="$$($(BIN)/python tools/browser.py)" $(BIN)/pytest -n 2 --dist loadfile -q

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: .venv-bench/.peers
	.venv-bench/bin/python -m benchmarks
	$(MAKE) bench-dashboard bench-curvature bench-blocks bench-autopilot bench-blackbox bench-replay

bench-curvature: .venv-bench/.peers
	.venv-bench/bin/python -m benchmarks.curvature

bench-blocks: $(VENV)/.test
	$(BIN)/python -m benchmarks.blocks

bench-rescue: $(VENV)/.test
	$(BIN)/python -m benchmarks.rescue
	$(BIN)/python -m benchmarks.rescue.rival

bench-autopilot: $(VENV)/.test
	$(BIN)/python -m benchmarks.autopilot
	$(BIN)/python -m benchmarks.autopilot.cost

bench-blackbox: $(VENV)/.test
	$(BIN)/python -m benchmarks.blackbox

bench-replay: $(VENV)/.test
	$(BIN)/python -m benchmarks.replay

bench-dashboard: $(VENV)/.test
	$(BIN)/python hatch_build.py
	SUREFOOT_BROWSER="$$($(BIN)/python tools/browser.py)" $(BIN)/python -m benchmarks.dashboard

screenshots: $(VENV)/.test
	$(BIN)/python hatch_build.py
	SUREFOOT_BROWSER="$$($(BIN)/python tools/browser.py)" $(BIN)/python tools/screenshots.py
	$(BIN)/python tools/landscapes.py
	$(BIN)/python tools/corrections.py
	$(BIN)/python tools/gallery.py

bench-quick: $(VENV)/.test
	$(BIN)/python -m benchmarks --quick
	$(BIN)/python hatch_build.py
	SUREFOOT_BROWSER="$$($(BIN)/python tools/browser.py)" $(BIN)/python -m benchmarks.dashboard --quick
	$(BIN)/python -m benchmarks.zoo --quick
	$(BIN)/python -m benchmarks.curvature --quick
	$(BIN)/python -m benchmarks.blocks --quick
	$(BIN)/python -m benchmarks.rescue --quick
	$(BIN)/python -m benchmarks.autopilot --quick
	$(BIN)/python -m benchmarks.blackbox --quick
	$(BIN)/python -m benchmarks.replay --quick

zoo: .venv-bench/.peers
	.venv-bench/bin/python -m benchmarks.zoo
	.venv-bench/bin/python -m benchmarks.zoo.peers

docs: $(VENV)/.dev
	$(BIN)/python tools/docs.py
	$(BIN)/mkdocs build --strict

# Each stamp is an installed set of extras; the page is built on the way.
$(VENV)/.%: pyproject.toml constraints.txt tests/oracles.txt hatch_build.py $(wildcard web/package*.json) | $(VENV)
	$(PIP) -e ".[$(if $(filter demo,$*),examples,$*)]"
	$(if $(filter test dev,$*),$(PIP) --no-deps -r tests/oracles.txt)
	@touch $@

# Peers are measured in an environment of their own: they conflict with ours.
.venv-bench/.peers: pyproject.toml constraints.txt benchmarks/peers.py $(wildcard benchmarks/zoo/peers/*.py)
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[examples]"
	.venv-bench/bin/python -m benchmarks.peers
	@touch $@

$(VENV):
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) .venv-bench node_modules web/node_modules src/surefoot/report/assets site .browser
