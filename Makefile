# The commands of the project. Each one sets up .venv first where that is not done yet.
.DEFAULT_GOAL = help
.ONESHELL:
.SHELLFLAGS = -ec
.PHONY: help setup demo web test quick check chromium bench bench-gpu weights image lock clean

export PYTHONUNBUFFERED = 1
IN_VENV = PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m
CODE = pipeline model tests benchmarks
CHECKED = oneview.py $(CODE)
ROOT = data/embedded
SHARDS = data/shards
DEVICE = cpu
# A process a core; a file's tests stay together, since they may share what they prepare, and the order is conftest.py's.
TESTS = $(IN_VENV) pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

IN_RANGE = import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))
# A name alone proves nothing (pyenv leaves shims of versions that are not active): the first that runs is taken.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.10 python3; do \
	$$python -c '$(IN_RANGE)' 2>/dev/null && echo $$python && break; done)

help:
	@echo "Usage: make COMMAND [PYTHON=python3.11]"
	awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' Makefile

setup: .venv/ready ## make .venv with every dependency at its locked version
	@[ -e .git ] || [ -e .dvc/config.local ] || {
		echo "This is no git repository, so DVC is set to do without (only dvc exp needs one: git init, then delete" \
			".dvc/config.local)."
		$(IN_VENV) dvc config --local core.no_scm true
	}

demo: setup ## run the whole pipeline on the embedded data, and say how good it is and where the page with all of it is
	@$(IN_VENV) dvc repro
	echo
	cat data/comparison/summary.txt
	echo
	echo "The page with everything on it: data/report/index.html"

web: setup ## a page in the browser, where a photo is dropped and its shape turned; ARGS="--port 8000" goes to it
	@$(IN_VENV) pipeline.web $(ARGS)

test: setup chromium ## run all tests; ARGS="-k render" goes to pytest
	@$(TESTS) $(ARGS)

quick: setup ## run all tests but those marked long, for the middle of work: less than a minute
	@$(TESTS) -m "not long" $(ARGS)

chromium: ## install Chromium for the tests of pages, where root can; they are skipped without it
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done
	[ $$(id -u) = 0 ] && command -v apt-get >/dev/null || exit 0
	echo "Installing Chromium for the tests of pages"
	apt-get update -qq || true
	DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -qq --no-install-recommends chromium </dev/null >/dev/null ||
		echo "There is no Chromium to be had, so the tests of pages are skipped"

check: setup ## lint, formatting and types
	@$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) mypy $(CHECKED)

bench: setup ## measure everything against its peers; ROOT=/data/ShapeNetCore.v2 for other meshes than the embedded ones
	@[ $(ROOT) != data/embedded ] || $(IN_VENV) dvc repro --quiet synthesize
	for name in voxelize render preprocess metrics; do $(IN_VENV) benchmarks.$$name --root $(ROOT); done
	for name in loader catalogue; do $(IN_VENV) benchmarks.$$name; done

bench-gpu: ## on a machine with a GPU, at most 8 minutes: its tests, and how fast systems train; SHARDS=folder of the shards
	@python=python3
	[ ! -e .venv/ready ] || python=.venv/bin/python
	$$python -m benchmarks.gpu --root $(SHARDS)

weights: setup ## train the network that comes along anew, in a clone of what is committed: an hour on 2 cores
	@[ -d data/cache/weights ] || git clone --quiet . data/cache/weights
	cd data/cache/weights
	git fetch --quiet origin HEAD
	git checkout --quiet --force FETCH_HEAD
	cp data/weights/params.yaml .
	PATH="$(CURDIR)/.venv/bin:$$PATH"
	dvc repro metrics@recall
	python -m pipeline.export recall --out data/recall.safetensors --licence MIT
	cp data/recall.safetensors $(CURDIR)/data/weights

image: ## build an image with Docker or Podman, oneview:cpu; DEVICE=cuda for GPUs
	@tool=$$(command -v docker || command -v podman) || {
		echo "Docker or Podman is needed, found neither." >&2
		exit 1
	}
	$$tool build --build-arg DEVICE=$(DEVICE) --tag oneview:$(DEVICE) .

lock: setup ## write requirements.lock again from setup.cfg; ARGS=--upgrade takes newer versions
	@$(IN_VENV) uv pip compile setup.cfg --output-file requirements.lock --quiet --all-extras $(ARGS) \
		--universal --python-version 3.10 --fork-strategy fewest --no-python-downloads \
		--custom-compile-command "make lock"

clean: ## remove .venv and caches; data/ stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis oneview.egg-info
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

# No stamp, no venv: what a stopped set-up left behind is made anew.
.venv/ready: requirements.lock setup.cfg
	@python="$(PYTHON)"
	"$$python" -c '$(IN_RANGE)' 2>/dev/null || {
		echo "oneview needs Python 3.10, 3.11 or 3.12; found $$($${python:-python3} --version 2>&1)." \
			"Install one, or name it: make PYTHON=/path/to/python3.11" >&2
		exit 1
	}
	# Debian has ensurepip, which venv needs, in a package of its own; Open3D needs the libraries to be imported.
	missing=
	"$$python" -c 'import ensurepip' 2>/dev/null ||
		missing=$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	for pair in libusb-1.0.so.0:libusb-1.0-0 libEGL.so.1:libegl1 libGL.so.1:libgl1 libX11.so.6:libx11-6; do
		"$$python" -c "import ctypes; ctypes.CDLL('$${pair%:*}')" 2>/dev/null || missing="$$missing $${pair#*:}"
	done
	if [ "$$missing" ]; then
		[ $$(id -u) = 0 ] && command -v apt-get >/dev/null || {
			echo "System packages are missing. Install them, then try again: sudo apt-get install" $$missing >&2
			exit 1
		}
		echo "Installing system packages:$$missing"
		apt-get update -qq || true
		DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing </dev/null >/dev/null
	fi
	if [ ! -e $@ ]; then
		echo "Setting up .venv (about 6 GB, some minutes, once) with $$("$$python" --version)"
		"$$python" -m venv --clear .venv
	fi
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements.lock)
	.venv/bin/uv pip sync --quiet --python .venv/bin/python requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --offline --no-deps --no-build-isolation --editable .
	.venv/bin/python -c 'import open3d, torch, pytorch3d._C'
	touch $@
