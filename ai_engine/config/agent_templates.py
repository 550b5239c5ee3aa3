"""What a new agent's file begins as."""

RECEPTION = """\
# yaml-language-server: $schema=../agent.schema.json
# An agent, as below `agents` in config/ai-agent.yaml. A change is for the next call; one in progress keeps what it has.

# provider: openai_realtime   # who runs it; absent: default_provider of the configuration
language: en-US
greeting: Hello, you have reached our reception. How can I help you?
prompt: |
  You are the receptionist of a small company and talk on the telephone.
  Answer in one or two short sentences, and ask one thing at a time.
  Connect callers with a person when they ask for one, and hang up once you have said goodbye.
tools: [hangup, transfer]
"""

REALTIME = """\
# yaml-language-server: $schema=../agent.schema.json
# An agent that OpenAI's Realtime API runs; its key is OPENAI_API_KEY in .env.

provider: "{name}.realtime"
providers:
  "{name}.realtime": {{type: openai_realtime, model: gpt-realtime, voice: marin}}
language: en-US
greeting: Hello, how can I help you?
prompt: |
  You talk on the telephone. Answer in one or two short sentences, and ask one thing at a time.
tools: [hangup, transfer]
"""

CONVO = """\
#:schema ../convo.schema.json
# An agent as a convo.toml. Keys of .env are written ${{NAME}}.

[agent]
user_id = "{name}"

[agent.asr]
vendor = "deepgram"           # deepgram, deepgram_flux, local
language = "en-US"
[agent.asr.params]
model = "nova-3"

[agent.llm]
url = "https://api.openai.com/v1/chat/completions"
api_key = "${{OPENAI_API_KEY}}"
greeting_message = "Hello, how can I help you?"
[[agent.llm.system_messages]]
role = "system"
content = "You talk on the telephone. Answer in one or two short sentences."
[agent.llm.params]
model = "gpt-4o-mini"

[agent.tts]
vendor = "deepgram"           # deepgram, openai, local
[agent.tts.params]
model = "aura-2-thalia-en"
"""

TEMPLATES = {"reception": (".yaml", RECEPTION), "realtime": (".yaml", REALTIME), "convo": (".toml", CONVO)}
"""By name: the suffix of the file, and its text with a place for the agent's name."""
DEFAULT = "reception"


def fill(template: str, name: str) -> tuple[str, str]:
    """Suffix and text of a new agent's file. Raises KeyError."""
    suffix, text = TEMPLATES[template]
    return suffix, text.format(name=name)
