# serd: set up, run, test. `make help` lists the targets.
# Works as root without sudo (containers) and as a user with sudo (a Pi, a desktop).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# A Python 3.13 for the tests with a real Home Assistant, and where its environment goes.
HA_PYTHON ?=
HA_VENV   ?= .cache/homeassistant-venv
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)

# What the daemon itself needs from the system: a virtual environment and PortAudio.
APT_RUN  := python3-venv libportaudio2
# What the tests need besides: a real broker, a virtual microphone, a voice, a certificate maker,
# ffmpeg and an RTSP server.
APT_TEST := mosquitto mosquitto-clients pulseaudio pulseaudio-utils libasound2-plugins \
            alsa-utils espeak-ng openssl unzip strace faketime iproute2 nftables tmux man-db groff-base \
            chromium chromium-driver ffmpeg \
            python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good

.PHONY: help run setup setup-test lint types test test-failed test-quick test-homeassistant test-fleet audit fuzz soak bench bench-micro bench-instructions bench-report bench-fleet train docs check-asyncapi man screenshots figures sample clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: setup ## set up, then listen to the microphone, or to the sample speech if there is none
	@$(BIN)/serd demo

setup: $(VENV)/.setup-run ## set-up only; .venv/bin/serd works after it
	@echo "serd is set up: $(BIN)/serd --help"

setup-test: $(VENV)/.setup-test ## set-up for tests and training

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Dependencies are pinned and verified by their hashes, here as on a Pi. An environment from before
# 0.2 has the distribution under its old name, whose removal would delete bin/serd.
$(VENV)/.setup-run: pyproject.toml packaging/requirements.lock packaging/build.lock
	@$(call apt,$(APT_RUN))
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	    { echo "serd runs on Python 3.11 to 3.13, and this is $$($(BIN)/python -V):" \
	        "rm -r $(VENV), then make setup PYTHON=python3.13" >&2; exit 69; }
	@! ls -d $(VENV)/lib/python3*/site-packages/serd-*.dist-info >/dev/null 2>&1 || \
	    $(PIP) uninstall --yes serd
	$(PIP) install --require-hashes --only-binary :all: \
	    -r packaging/requirements.lock -r packaging/build.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# pip keeps installed versions that satisfy the requirements, so the pinned versions are tested.
$(VENV)/.setup-dev: $(VENV)/.setup-run
	$(PIP) install --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/.setup-test: $(VENV)/.setup-dev
	@$(call apt,$(APT_TEST))
	$(PIP) install --no-build-isolation --editable '.[dev,test,train]'
	@touch $@

$(VENV)/.setup-bench: $(VENV)/.setup-test
	$(PIP) install --no-build-isolation --editable '.[dev,test,train,bench]'
	@touch $@

# Installs only missing packages, so that sudo is not needed if everything is installed.
define apt
missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
if [ -n "$$missing" ]; then \
    echo "installing with apt:" $$missing; \
    $(SUDO) apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends \
        $$missing >/dev/null || { echo "apt could not install:" $$missing >&2; exit 69; }; \
fi
endef

lint: setup-test ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup-test ## mypy --strict
	$(BIN)/mypy

# Most tests wait for brokers, microphones and browsers, so there are more processes than cores.
# The tests of a file stay together, because they share fixtures.
TEST_JOBS ?= $(shell echo $$(($$(nproc) + 1)))

test: lint types ## lint, types and every test, in TEST_JOBS processes
	$(BIN)/pytest -n $(TEST_JOBS) --dist loadfile || { [ $$? -eq 1 ] && $(MAKE) --no-print-directory test-failed; }

# Exit code 1 of pytest: all tests have run, and some failed; anything else is final.
# Brokers, sound servers and browsers that compete for a busy machine may be too slow for a test. It
# is run once more, by itself; one that passes then is named, because it is still a defect.
test-failed: setup-test ## what failed in the last run of tests once more, one after the other
	@echo "Failed beside other tests, and unstable if it passes now:"
	@$(BIN)/pytest --cache-show cache/lastfailed | sed -n "s/.*\(tests[^']*\)': True.*/  \1/p"
	$(BIN)/pytest --last-failed --last-failed-no-failures none

# What the quick suite leaves out, by the markers of pyproject.toml.
QUICK := not (slow or broker or pulse or browser or tensorflow or corpora or postgres)

test-quick: $(VENV)/.setup-dev ## every test that needs only the extra `dev`: about two minutes
	$(BIN)/pytest -n $(shell nproc) --dist loadfile -m "$(QUICK)"

test-homeassistant: setup-test ## the tests with a real Home Assistant (needs Python 3.13: HA_PYTHON)
	$(BIN)/python -m tests.homeassistant.environment --venv $(HA_VENV) \
	    $(if $(HA_PYTHON),--python $(HA_PYTHON))
	SERD_HOMEASSISTANT=$(HA_VENV) $(BIN)/pytest -m homeassistant

# Debian's package starts a PostgreSQL server; the tests and the benchmark do not use it, but start
# their own in a temporary folder.
test-fleet: setup-test ## the tests with a real PostgreSQL, and the broker's access rules and bridge
	@$(call apt,postgresql)
	$(BIN)/pytest tests/fleet

audit: ## known vulnerabilities of the pinned packages; skipped if the database is unreachable
	@sh packaging/audit.sh $(PYTHON)

fuzz: setup-test ## 3000 each of hostile configurations, messages, models, recordings, cookies and headers
	FUZZ_EXAMPLES=3000 $(BIN)/pytest tests/fuzz

# For which Debian and architecture `make deb` builds.
DEB_SUITES ?= bookworm trixie
DEB_ARCHS  ?= amd64 arm64

deb: man ## the Debian packages, to dist/ (needs root: docs/install.md)
	@for suite in $(DEB_SUITES); do for arch in $(DEB_ARCHS); do \
	    packaging/deb.sh $$suite $$arch || exit $$?; done; done
	@! command -v lintian >/dev/null || lintian --fail-on error dist/*.deb

test-systemd: setup-test man ## install.sh and the package on a booted Debian 12 (needs root)
	packaging/deb.sh bookworm amd64
	SERD_SYSTEMD=1 $(BIN)/pytest -s -m systemd tests/systemd

test-arm64: setup-test man ## the arm64 packages on emulated Debian 12 and 13 (needs root; slow)
	packaging/deb.sh bookworm arm64
	packaging/deb.sh trixie arm64
	SERD_ARM64=1 $(BIN)/pytest -s -m arm64 tests/arm64

# BASE=docker.io/library/debian:trixie-slim where an image registry is reached.
BASE ?= debootstrap
IMAGE ?= serd

image: ## the container image, by buildah (docs/container.md)
	BASE=$(BASE) packaging/container/build.sh $(IMAGE)

test-container: setup-test ## the image in podman: sound server, broker, kills, deafness (needs root)
	BASE=$(BASE) packaging/container/build.sh localhost/serd-test
	SERD_IMAGE=localhost/serd-test $(BIN)/pytest -s -m container tests/container

# DEB_SUITES, DEB_ARCHS and IMAGE_ARCHS choose what is built; empty: none.
release: setup-test ## everything that is published, into dist/ (packages and images need root)
	BASE=$(BASE) packaging/release.sh dist

addon: setup-test ## the add-on's options, translations and pictures, from serd's schema
	$(BIN)/python packaging/homeassistant/manifest.py
	$(BIN)/python packaging/homeassistant/icon.py

test-addon: setup-test ## the add-on with a stand-in for Home Assistant's Supervisor, in Chromium (needs root)
	@$(call apt,nginx-light)
	SERD_ADDON=1 $(BIN)/pytest -s -m addon tests/addon

lock: ## update the pinned dependencies (packaging/requirements.lock)
	packaging/lock.sh

soak: setup-test ## a day of sound with a broker that fails at random (some ten minutes)
	$(BIN)/python -m tests.soak --hours 24

bench: $(VENV)/.setup-bench ## serd beside librosa pipelines and the bare floor: a table (20 minutes; BENCH=--quick: 2)
	@$(BIN)/python -m benchmarks $(BENCH)

bench-report: $(VENV)/.setup-bench ## write the latest result of `make bench` to docs/performance.md and the README's figure
	@$(BIN)/python -m benchmarks report

bench-micro: $(VENV)/.setup-bench ## benchmark each part of serd separately (pytest-benchmark)
	@$(BIN)/pytest benchmarks/micro -W default --benchmark-only

bench-instructions: $(VENV)/.setup-bench ## instructions per second of speech, counted by valgrind
	@$(call apt,valgrind)
	@$(BIN)/python -m benchmarks.instructions docs/figures/instructions.json

bench-fleet: setup-test ## 1000 simulated nodes for ten minutes on one broker, into PostgreSQL (BENCH=--quick: a minute)
	@$(call apt,postgresql)
	@$(BIN)/python -m benchmarks.fleet $(BENCH)

train: setup-test ## train and package the default model (needs the corpora: docs/training.md)
	$(PIP) install --no-build-isolation --editable '.[train,teacher]'
	$(BIN)/serd-train release

figures: setup-test ## redraw every figure from the committed results, without measuring
	$(BIN)/serd-train report
	$(BIN)/serd-train report --name permissive
	$(BIN)/serd-train baselines --table
	$(BIN)/serd-train probe --personal --table
	$(BIN)/python -m benchmarks report docs/figures/benchmark.json

docs: setup ## regenerate the pages derived from the code: configuration, recipes, MQTT, metrics
	$(BIN)/python -m tools.docs.configuration >docs/configuration.md
	$(BIN)/serd-train schema >docs/recipe.md
	$(BIN)/python -m tools.docs.json_schema >serd/events/event.schema.json
	$(BIN)/python -m tools.docs.asyncapi >docs/asyncapi.yaml
	$(BIN)/python -m tools.docs.tables

check-asyncapi: setup ## let AsyncAPI's own parser judge docs/asyncapi.yaml (needs node and npm)
	@mkdir -p .cache/asyncapi
	npm install --silent --no-audit --no-fund --prefix .cache/asyncapi @asyncapi/parser@3
	NODE_PATH=.cache/asyncapi/node_modules node tests/mqtt/asyncapi_check.cjs docs/asyncapi.yaml

man: setup ## manual pages, generated from the help, into man/
	$(BIN)/python -m tools.docs.manual man

screenshots: setup-test ## pictures of the dashboard into docs/figures (needs chromium)
	$(BIN)/python -m tests.dashboard.screenshots docs/figures

sample: setup-test ## regenerate the sample speech (needs espeak-ng)
	$(BIN)/python examples/make_sample.py

clean: ## remove the environment and the caches
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
