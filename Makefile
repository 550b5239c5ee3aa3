# Offhook: `make demo` places a real call, `make test` proves the rest. `make` alone shows what there is.
.DEFAULT_GOAL := help
PY := .venv/bin/python
ARGS ?=
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo "docker compose" || echo docker-compose)

.PHONY: help setup demo demo-outbound demo-studio run bench test check format diagrams pictures schema build up down logs ps restart test-containers test-models sizes clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing (Debian packages, Python packages in .venv); safe to repeat
	@scripts/setup

demo: setup ## Place a real SIP call through a real Asterisk and talk with the agent (ARGS='--help' for more)
	@$(PY) -m scripts.trial.demo $(ARGS)

demo-outbound: setup ## Have the engine call a SIP phone that is busy at first, and book an appointment (ARGS='--help')
	@$(PY) -m scripts.trial.demo_outbound $(ARGS)

demo-studio: setup ## Import a SIP number from a second Asterisk, make an agent, call and be called (ARGS='--trunks ari')
	@scripts/asterisk install
	@$(PY) -m scripts.trial.demo_studio $(ARGS)

run: setup ## Run trial Asterisk, local AI server and engine until Ctrl-C; dial 100 with your own softphone
	@$(PY) -m scripts.trial.run $(ARGS)

bench: setup ## Load the engine to its knee, alone and through Asterisk, and say what it costs (ARGS='--quick', '--help')
	@scripts/asterisk install
	@$(PY) -m scripts.bench $(ARGS)

test: check ## Check, then run every test: pure rooms, adapters, real Asterisk, real phone (ARGS='-k barge')
	@scripts/asterisk install
	@$(PY) -m scripts.tests $(ARGS)

test-models: setup ## Test the backends that are built from source (llama-cpp-python: minutes, the first time)
	@scripts/setup models
	@.venv-models/bin/python -m pytest tests/models --noconftest -o markers="models: x" -p no:cacheprovider $(ARGS)

check: setup ## Format, lint, types, import contracts, diagrams and schema fresh; seconds, no Asterisk
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PY) -m scripts.diagrams --check
	@$(PY) -m ai_engine schema --check config/ai-agent.schema.json config/agent.schema.json config/convo.schema.json

format: setup ## Format the code and mend what the linter can
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

diagrams: setup ## Draw docs/state-machines.md from the tables in ai_engine/call
	@$(PY) -m scripts.diagrams

pictures: setup ## Take the pictures of the terminal studio in docs/images
	@$(PY) -m scripts.studio_pictures

schema: setup ## Export config/*.schema.json for editors
	@$(PY) -m ai_engine schema > config/ai-agent.schema.json
	@$(PY) -m ai_engine schema --of agent > config/agent.schema.json
	@$(PY) -m ai_engine schema --of convo > config/convo.schema.json

build: ## Build both images
	$(COMPOSE) build

up: ## Start both containers
	$(COMPOSE) up -d --build

down: ## Stop both containers
	$(COMPOSE) down

logs: ## Follow the containers' logs
	$(COMPOSE) logs -f --tail=100

ps: ## Show the containers
	$(COMPOSE) ps

restart: ## Restart the engine alone
	$(COMPOSE) restart ai-engine

test-containers: setup ## Build the images for real, bring them up, call through them (Docker, or Podman where there is no engine)
	@$(PY) -m scripts.trial.containers $(ARGS)

sizes: setup ## The longest modules and functions, for reading, not for counting
	@$(PY) -m scripts.sizes

clean: ## Stop the trial Asterisk and remove what was made (.venv*, .cache)
	@scripts/asterisk stop || true
	@rm -rf .venv .venv-models .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
