SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
FIGURES := $(foreach paper,rpgen privimage,$(patsubst params/$(paper)/%.yaml,$(paper)-%,$(wildcard params/$(paper)/*.yaml)))

.PHONY: help install reproduce table1 $(FIGURES) figures check dry-run test mutants exercise slides crash bench bench-gpu samplers site lint lab edit readme record clean

export PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXPERIMENT ?= table
SCALE ?= $(PROFILE)
METHOD ?=
EPS ?=
SEED ?=
JOBS ?= 1
N ?=
ANSWER ?=

PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input
CHOSEN = $(if $(SCALE),--scale '$(SCALE)') $(if $(METHOD),--method '$(METHOD)') $(if $(EPS),--epsilon '$(EPS)') \
	$(if $(SEED),--seed '$(SEED)')
CHOICE = --experiment '$(EXPERIMENT)' $(CHOSEN)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  One for each table and figure of the papers: $(FIGURES)"
	@echo "  EXPERIMENT=table  SCALE=smoke|laptop  METHOD=rpgen,dpdm  EPS=10|inf  SEED=0,1,2 in place of those in the file; JOBS=2 makes two at a time"

install: .venv/.installed ## make the environment in .venv, and no more

reproduce: .venv/.installed ## plan and execute the notebooks of every run, end with the comparison table
	@.venv/bin/python -m dpsynth.runner.reproduce $(CHOICE) --jobs '$(JOBS)'

table1: .venv/.installed ## RPGen's Table 1 on CIFAR-10 and Tiny-ImageNet, on a GPU (docs/gpu.md)
	@$(MAKE) --no-print-directory reproduce EXPERIMENT=rpgen/table1

# One for each file of params/rpgen and params/privimage, as rpgen-fig5; each can be stopped, and goes on.
$(FIGURES): .venv/.installed
	@.venv/bin/python -m dpsynth run '$(subst privimage-,privimage/,$(subst rpgen-,rpgen/,$@))' $(CHOSEN)

figures: .venv/.installed ## from results/, without a run: pages, figures and verdicts of the papers' tables and figures
	@.venv/bin/python -m dpsynth.report.itempages

check: .venv/.installed ## compare what was run here with what is committed in results/: which cells moved
	@.venv/bin/python -m dpsynth.report.check --scale '$(or $(SCALE),laptop)'

dry-run: .venv/.installed ## print the plan of `make reproduce`, and what it would spend
	@.venv/bin/python -m dpsynth.runner.reproduce $(CHOICE) --dry-run

test: .venv/.installed ## run the tests
	@mkdir -p build; SECONDS=0; .venv/bin/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile; \
		echo "{\"test_minutes\": $$((SECONDS / 60)).$$((SECONDS % 60 / 6))}" > build/test.json

mutants: .venv/.installed ## plant bugs in the privacy code, one at a time, and show which test catches each
	@.venv/bin/python tests/mutants

exercise: .venv/.installed ## plant bug N=1 ... 6 in a copy, and judge how you mend it; ANSWER=1 shows how
	@.venv/bin/python exercises $(N) $(if $(ANSWER),--answer)

slides: .venv/.installed ## the lecture of docs/teaching.md from executed notebooks, at SCALE; writes build/slides.html
	@.venv/bin/python -m dpsynth.site.slides --scale '$(or $(SCALE),laptop)'

crash: .venv/.installed ## kill a run 25 times, resume it, compare it with one that nobody killed
	@.venv/bin/python tests/crash.py

bench: .venv/.installed ## time a DP-SGD step beside an ordinary one and Opacus's; writes build/bench.csv
	@.venv/bin/python -m dpsynth.bench

bench-gpu: .venv/.installed ## the same on a GPU, at the sizes of docs/gpu.md; writes build/bench-gpu.csv
	@.venv/bin/python -m dpsynth.bench.gpu

samplers: .venv/.installed ## compare samplers by quality and speed, on the choosing split; writes build/samplers.csv
	@.venv/bin/python -m dpsynth.bench.samplers

site: .venv/.installed ## build the web pages of what was run, of docs/ and of results/, in build/site/html
	@.venv/bin/python -m dpsynth.site

lint: .venv/.installed ## check the code with ruff
	@.venv/bin/python -m ruff check .

lab: .venv/.installed ## open a run's pages in JupyterLab, on SCALE, METHOD, EPS and SEED
	@.venv/bin/python -m dpsynth.runner.lab $(if $(SCALE),--scale '$(SCALE)') $(if $(METHOD),--method '$(METHOD)') \
		$(if $(EPS),--epsilon '$(EPS)') $(if $(SEED),--seed '$(SEED)')

edit: .venv/.installed ## pair the notebooks of the project and open these themselves
	@.venv/bin/python -m jupytext --quiet --sync notebooks/*.py notebooks/methods/*.py
	@DPSYNTH_ROOT="$$(pwd -P)" .venv/bin/python -m jupyter lab notebooks

readme: .venv/.installed ## fill the numbers of README.md and docs/ from results/
	@.venv/bin/python -m dpsynth.report.readme

record: .venv/.installed ## take over the last measurements from build/ into results/, README.md and docs/
	@.venv/bin/python -m dpsynth.report.readme --record

clean: ## remove build/; the ledger, its keys and cached data stay
	@rm -rf build

# The environment, made once, again when its pins change, and anew in another folder: one that was copied with the
# project runs the package of the folder it was made in.
ifneq ($(shell cat .venv/.installed 2>/dev/null),$(CURDIR))
.PHONY: .venv/.installed
endif
.venv/.installed: requirements.lock pyproject.toml
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "error: Python 3.11 is needed, found '$$PYTHON'; name it with make PYTHON=..." >&2; exit 1; }
	@if [ -s $@ ] && [ "$$(cat $@)" != "$$(pwd -P)" ]; then \
		echo "the environment in .venv was made in $$(cat $@), and is made anew here"; rm -rf .venv; fi
	@echo "installing the pinned packages into .venv, once (several gigabytes)"
	@"$$PYTHON" -m venv .venv
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps -e .
	@pwd -P > $@
