# Every target sets up what it needs; `make` alone prints what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)
SOURCES_COMPILED := $(shell find ingress/proxy bench/load -name '*.pyx' -o -name '*.pxi' -o -name '*.pxd' 2>/dev/null)

# What `make sanitize` runs: what drives the engine itself. By hand also SANITIZED=tests/ingress/behaviour, or all of tests/ingress.
SANITIZED ?= tests/ingress/proxy tests/ingress/test_two_hops.py tests/ingress/test_conformance.py

# To compile and run the data plane; to run the pod network, the demo and the tests.
DEBIAN := build-essential libssl-dev zlib1g-dev libbrotli-dev libzstd-dev python3-dev python3-venv \
	iproute2 nftables netbase conntrack iputils-ping iputils-arping tcpdump curl procps openssl

.DEFAULT_GOAL := help
.PHONY: help venv demo test sanitize lint format e2e bench bench-full clean

help:  ## print this
	@awk -F ':.*##' '/^[a-z0-9-]+:.*##/ {printf "  make %-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/ready  ## make .venv with everything in it: .venv/bin/causeway, .venv/bin/causeway-cni

demo: venv  ## a cluster in network namespaces with the whole path working (root)
	$(BIN)/causeway demo $(DEMO_FLAGS)

test: venv  ## the test suite; what needs root is skipped with the reason for an ordinary user
	$(BIN)/python -m pytest -q $(PYTEST_FLAGS)

sanitize: venv  ## the tests of the data plane once more, over a build with AddressSanitizer and UndefinedBehaviorSanitizer
	$(BIN)/python -m tests.sanitized $(SANITIZED) -q $(PYTEST_FLAGS)

lint: venv  ## ruff and mypy, both strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv  ## let ruff write the sources its way
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

e2e: venv  ## the same path on real Kubernetes, built from Go modules (root, Go)
	$(BIN)/python -m pytest tests/e2e --e2e -q $(PYTEST_FLAGS)

bench: venv  ## beside nginx, haproxy, envoy and caddy; changes and failures: build/bench/report.html
	@mkdir -p build/bench
	-$(BIN)/causeway bench peers --rounds 5 --seconds 0.5 --json build/bench/peers.json
	-$(BIN)/causeway bench scenario --json build/bench/scenarios.json
	$(BIN)/causeway bench report build/bench/peers.json build/bench/scenarios.json -o build/bench/report.html

bench-full: venv  ## the same, everything, in large sizes; the tables of bench/README.md (a quiet machine)
	@mkdir -p build/bench bench/results
	-$(BIN)/causeway bench peers --full --rounds 15 --json bench/results/peers.json
	-$(BIN)/causeway bench scenario --full --json bench/results/scenarios.json
	$(BIN)/causeway bench report bench/results/peers.json bench/results/scenarios.json \
		-o build/bench/report.html --readme bench/README.md

clean:  ## remove what was built here
	rm -rf $(VENV) build dist *.egg-info
	find . -name '*.so' \( -path "./ingress/*" -o -path "./bench/*" \) -delete

$(VENV)/debian: Makefile
ifeq ($(ROOT),yes)
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(DEBIAN) 2>/dev/null | \
		awk '$$2 == "installed" {print $$1}' | sort >/tmp/causeway-installed.$$$$; \
		printf '%s\n' $(DEBIAN) | sort | comm -23 - /tmp/causeway-installed.$$$$; rm -f /tmp/causeway-installed.$$$$); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
else
	@for need in cc:build-essential openssl:openssl; do \
		command -v $${need%%:*} >/dev/null || echo "missing: Debian package $${need##*:}; ask root to: apt-get install $(DEBIAN)"; \
	done
endif
	@mkdir -p $(VENV) && touch $@

$(VENV)/ready: $(VENV)/debian pyproject.toml $(SOURCES_COMPILED)
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@
