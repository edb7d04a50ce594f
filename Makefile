# Everything a newcomer types. `make run` and `make test` set up all they need.

.DEFAULT_GOAL := help
.PHONY: help run consultation apps test-apps test fuzz lint bench bench-layouts conformance audit release setup setup-tests examples

# HL7's official examples and definitions, pinned by hash in conformance/hl7/package-lock.json.
EXAMPLES := conformance/hl7/node_modules/hl7.fhir.r4.examples/package.json
# The mail server of the tests.
SMTP := tests/smtp/node_modules/smtp-server/package.json
# SMART clients that others wrote, of npm and of PyPI.
CLIENTS := tests/clients/node_modules/playwright-core/package.json tests/clients/venv/pyvenv.cfg
# The S3 service of the tests.
S3 := tests/s3/venv/pyvenv.cfg
# Their OpenID provider.
PROVIDER := tests/provider/node_modules/oidc-provider/package.json

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The apps for browsers as they are served, and what they are made of.
APPS := apps/node_modules/.built
APP_SOURCES := $(shell find apps -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path 'apps/e2e/*')

run: setup $(APPS) ## open the demo on http://127.0.0.1:8080: a practice that is made up, with a private database
	cargo build --quiet --bins
	cargo run --quiet -- serve --demo

consultation: ## a consultation from sign-up to refund, through HTTP alone, against the demo that runs (needs Node 20)
	node conformance/consultation.mjs

apps: $(APPS) ## build the apps for browsers (needs Node 20)

test-apps: $(APPS) setup-tests ## types, logic and size of the apps, and people's ways through them in Chromium
	cd apps && npm run --silent check && npm test --silent && npm run --silent size
	cargo build --quiet --bins
	cd apps && npm run --silent e2e

test: lint $(CLIENTS) $(PROVIDER) $(S3) ## check everything: formatting, lints, dependencies, all tests
	./scripts/test

# Seconds for each of the targets.
FUZZ_SECONDS := 60

fuzz: setup ## look for input that upsets a parser: a minute for each (needs a nightly compiler and cargo-fuzz)
	for target in scopes assertions redirects searches; do \
		mkdir -p fuzz/found/$$target; \
		cargo +nightly fuzz run --sanitizer none $$target fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 || exit 1; \
	done

lint: setup $(EXAMPLES) $(SMTP) ## formatting, clippy without warnings, the arrows between rooms, the dependencies
	cargo fmt --check
	cargo clippy --all-targets --quiet -- --deny warnings
	cargo test --quiet --test arrows --test dependencies

bench: setup ## the figures of docs/performance.md: this server beside bare SQL, and the micro benchmarks (ten minutes)
	cargo build --release
	cargo bench --bench knowledge
	./target/release/medconsult bench

bench-layouts: setup ## measure the index layouts of docs/decisions/0001 at a million resources (half an hour)
	./benches/layouts/run.sh

conformance: setup $(EXAMPLES) ## run HL7's official suites and write docs/conformance.md
	MEDCONSULT_LOG_FILTER=warn cargo run --quiet -- conformance --record docs/conformance.md

audit: ## known security holes in dependencies (needs a network and cargo-deny)
	cargo deny check advisories

release: setup ## the program for production: target/release/medconsult
	cargo build --release

setup:
	@./scripts/setup

setup-tests:
	@./scripts/setup tests

examples: $(EXAMPLES)

$(EXAMPLES): conformance/hl7/package-lock.json
	npm ci --prefix conformance/hl7 --no-audit --no-fund --loglevel=error
	@touch $@

apps/node_modules/.package-lock.json: apps/package-lock.json
	npm ci --prefix apps --no-audit --no-fund --loglevel=error
	@touch $@

$(APPS): apps/node_modules/.package-lock.json $(APP_SOURCES)
	npm run --silent --prefix apps build
	@touch $@

$(SMTP): tests/smtp/package-lock.json
	npm ci --prefix tests/smtp --no-audit --no-fund --loglevel=error
	@touch $@

tests/clients/node_modules/playwright-core/package.json: tests/clients/package-lock.json
	npm ci --prefix tests/clients --no-audit --no-fund --loglevel=error
	@touch $@

$(PROVIDER): tests/provider/package-lock.json
	npm ci --prefix tests/provider --no-audit --no-fund --loglevel=error
	@touch $@

tests/%/venv/pyvenv.cfg: tests/%/requirements.txt | setup-tests
	python3 -m venv --clear tests/$*/venv
	tests/$*/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@
