# Needs python3 >= 3.11 (with venv), make and network access to PyPI; everything else is installed by `setup`.

UV_VERSION := 0.13.9
UV := .local/uv/bin/uv
PYTHON := .venv/bin/python
REQUIREMENTS := layers/dependencies/requirements.txt
EXPORT := $(UV) export --quiet --only-group layer --no-emit-project --no-annotate --no-header
export PATH := $(CURDIR)/.local/uv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
export UV_PYTHON_DOWNLOADS := never
# Where it is set, each of the many processes here would compile its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test up down check lint types audit unit integration real-gateways e2e least-privilege simulate bench picture help-page lock setup clean second-opinion

demo: setup ## Submit sample photos to a local stack, and show before and after.
	$(PYTHON) -m tools.demo

test: setup ## Everything that a machine without Docker can run.
	$(MAKE) --jobs 2 check audit
	$(MAKE) unit integration e2e

up: setup ## Keep a local stack running: AWS emulator on port 4566, stand-in gateway on 8787.
	$(PYTHON) -m tools.kept_stack up

down: setup ## Stop it.
	$(PYTHON) -m tools.kept_stack down

check: lint types ## What needs no running code.

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(UV) lock --check --quiet
	$(EXPORT) | $(PYTHON) -c 'import sys; sys.exit(open("$(REQUIREMENTS)").read() != sys.stdin.read() and "$(REQUIREMENTS) is not what the lock says. Run: make lock")'

types: setup
	.venv/bin/mypy

audit: setup .local/audit ## Template, dependencies and files: what is unsafe, known to be vulnerable, or secret.
	$(PYTHON) -m tools.translated > .local/translated.json
	.venv/bin/cfn-lint template.yaml .local/translated.json
	$(PYTHON) -m tools.audit
	$(PYTHON) -m pytest -q -n 2 tests/audit

unit: setup
	$(PYTHON) -m pytest -q -n 2 tests/unit

integration: setup real-gateways
	$(PYTHON) -m pytest -q -n 2 --dist worksteal tests/integration

LLMOPS := tests/real_gateways
real-gateways: ## A gateway that people use, for the tests; without npm or its registry those tests are skipped.
	@command -v npm >/dev/null || { echo "npm is not installed: tests with the LLMOps gateway are skipped"; exit 0; }; \
	cmp -s $(LLMOPS)/package-lock.json $(LLMOPS)/node_modules/.installed || { \
	  cd $(LLMOPS) && npm ci --ignore-scripts --no-audit --no-fund --fetch-retries 0 --loglevel error >/dev/null \
	  && cp package-lock.json node_modules/.installed; } || echo "npm ci failed: tests with the LLMOps gateway are skipped"

e2e: setup
	$(PYTHON) -m pytest -q -n 2 --dist loadgroup -m "not alone" tests/e2e
	$(PYTHON) -m pytest -q -m alone tests/e2e

least-privilege: setup ## Take every permission of the functions' roles away, one by one, and see what goes wrong.
	$(PYTHON) -m tools.least_privilege

SEEDS ?= 1000
second-opinion: setup ## A strict DynamoDB (takes Node.js), another CloudFormation, a proxy that makes AWS fail.
	$(PYTHON) -m tools.second_opinion

simulate: setup ## Play SEEDS seeds of the simulation, from SEED on or else from a random one.
	$(PYTHON) -m tools.simulation --seeds $(SEEDS) $(if $(SEED),--seed $(SEED))

bench: setup ## Measure everything anew, into docs/benchmarks.md; best on a machine that does nothing else.
	$(PYTHON) -m tools.bench

picture: setup ## Record the command line anew, into docs/terminal.svg.
	$(PYTHON) -m tools.recording

help-page: setup ## What the code knows, into docs: the command line's help, the failure codes.
	$(PYTHON) -m tools.command_line_page
	$(PYTHON) -m tools.failure_codes_table

lock: | $(UV) ## After changing pyproject.toml: the lock, and from it the layer's requirements.
	$(UV) lock
	$(EXPORT) --output-file $(REQUIREMENTS)

setup: .local/ready

$(UV):
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Backdrop needs python3 3.11 or newer.")'
	python3 -m venv .local/uv
	.local/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The SAM CLI pins its own boto3, so it gets an environment of its own; both come from one lock.
.local/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --quiet
	UV_PROJECT_ENVIRONMENT=.venv-sam $(UV) sync --locked --quiet --only-group sam
	touch $@

# So does checkov, which is big; only `audit` needs it.
.local/audit: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.venv-audit $(UV) sync --locked --quiet --only-group audit
	touch $@

clean: down
	rm -rf .local .aws-sam .venv .venv-sam .venv-audit
