"""What the file may say of tools, and every mistake in it by name and line."""

from pathlib import Path

import pytest

from ai_engine.config import EngineConfig, load
from ai_engine.errors import ConfigError

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"}
GOOD = """\
default_agent: a
agents:
  a: {tools: [hangup, transfer, check_order, crm.*, shop.lookup_order]}
  b: {}
tools:
  destinations:
    sales: {extension: "2000", description: Prices., attended: true}
  http:
    check_order:
      description: Look an order up.
      url: "https://shop.example/orders/{number}?key=${SHOP_KEY}"
      parameters: {number: {type: integer, minimum: 1}}
  mcp:
    crm: {url: "https://crm.example/mcp", headers: {Authorization: "Bearer ${CRM_KEY}"}}
    shop: {command: shop-mcp, args: [--quiet], env: {KEY: "${OTHER_KEY}"}, allowed: ["lookup_*"]}
    unused: {command: x, env: {KEY: "${NOBODYS_KEY}"}}
"""
KEYS = {"SHOP_KEY": "s1", "CRM_KEY": "s2", "OTHER_KEY": "s3"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("c.yaml")


def loaded(file: Path, text: str, **environ: str) -> EngineConfig:
    file.write_text(text)
    return load(file, SECRETS | environ)


def problems(file: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text, **environ)
    return str(caught.value).splitlines()


def test_a_good_file(file: Path) -> None:
    config = loaded(file, GOOD, **KEYS)
    sales = config.tools.destinations["sales"]
    assert (sales.context, sales.extension, sales.attended, sales.ring_seconds) == ("offhook", "2000", True, 25)
    assert config.tools_of("a") == ("hangup", "transfer", "check_order", "crm.*", "shop.lookup_order")
    assert config.tools_of("b") == ("hangup", "send_dtmf", "transfer")
    assert config.tools.http["check_order"].timeout == 5.0
    assert set(config.secrets.keys) == set(KEYS), "what nobody uses needs no key"
    assert "s1" not in repr(config)
    assert "tools" not in config.agent("a")


def test_voicemail_gives_a_tool(file: Path) -> None:
    config = loaded(file, "default_agent: a\nagents: {a: {}}\ntools: {voicemail: {extension: vm}}\n")
    assert config.tools_of("a")[-1] == "leave_voicemail"


def test_a_missing_secret_is_named_with_the_tool_that_needs_it(file: Path) -> None:
    found = problems(file, GOOD, **{**KEYS, "CRM_KEY": ""})
    assert found == ["environment CRM_KEY: not set, and tools.mcp.crm needs it; write it into .env"]


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ("bananas", "there is no tool 'bananas' (known: hangup, send_dtmf, transfer, check_order, crm.*, shop.*"),
        ("leave_voicemail", "leave_voicemail needs tools.voicemail"),
        ("crm.find_*", "write crm.* for all of its tools, or the whole name of one"),
        ("shop.delete_order", "tools.mcp.shop.allowed leaves 'delete_order' out"),
        ("bank.*", "there is no tool 'bank.*'"),
        ("crm", "there is no tool 'crm'"),
    ],
)
def test_an_agent_with_a_strange_tool(file: Path, tool: str, why: str) -> None:
    text = GOOD.replace("  b: {}", f"  b:\n    tools:\n      - hangup\n      - {tool}")
    [found] = problems(file, text, **KEYS)
    assert found.startswith(f"c.yaml:7: agents.b.tools[1]: {why}")


def test_a_fact_that_no_tool_of_the_agent_finds_out(file: Path) -> None:
    text = """\
default_agent: a
agents:
  a: {tools: [who, book], greeting: "Hello {customer}."}
  b:
    tools: [book]
    greeting: "Hello {customer}."
llm: {prompt: "Call them {customer}, and answer as {json}."}
tools:
  http:
    who: {description: Find., when: pre_call, url: "https://crm.example/{caller}", result: {customer: name}}
    book: {description: Book., url: "https://crm.example/book?who={customer}"}
"""
    why = "{customer} is found out by the tool who, which this agent does not have"
    assert problems(file, text) == [f"c.yaml:4: agents.b: {why}"]


def test_an_intent_that_ends_with_a_tool_the_agent_does_not_have(file: Path) -> None:
    text = """\
default_agent: a
agents:
  a:
    tools: [transfer]
    intents:
      bye: {phrases: [goodbye], answer: Goodbye., action: hangup}
      help: {phrases: [help], answer: One moment., action: transfer}
"""
    assert problems(file, text) == ["c.yaml:6: agents.a.intents.bye.action: needs hangup below agents.a.tools"]


HTTP = """\
default_agent: a
agents: {a: {}}
tools:
  http:
    who:
      description: Find the caller.
      when: pre_call
      url: https://crm.example/who?number={caller}
      result: {customer: name}
    tool:
      description: Try.
"""


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("url: 'https://{host}/x'", "tools.http.tool.url: '{host}': no place may decide which server is asked"),
        ("url: 'https://a.example:{port}/x'", "url: 'a.example:{port}': no place may decide which server is asked"),
        ("url: 'https://a.example{path}'", "url: 'a.example{path}': no place may decide which server is asked"),
        ("url: 'https://${HOST}/x'", "url: '${HOST}': no place may decide which server is asked"),
        ("url: 'https://me:you@a.example/x'", "tools.http.tool.url: must match pattern"),
        ("url: 'ftp://a.example/x'", "tools.http.tool.url: must match pattern"),
        ("url: 'https://a.example/x#{caller}'", "must be a server and a path, without a fragment"),
        ("url: 'https://a.example/{nobody}'", "there is nothing to put in the place {nobody} (known here: agent, "),
        ("url: 'https://a.example/{transcript}'", "there is nothing to put in the place {transcript}"),
        ("url: https://a.example\n      bodi: 1", "tools.http.tool.bodi: unknown key (did you mean body?)"),
        ("url: https://a.example\n      body: {a: 1}", "body: a GET request has no body; use query, or method: POST"),
        (
            "url: https://a.example\n      method: POST\n      body: {a: {b: 1}}\n      body_format: form",
            "body: a form is keys with plain values",
        ),
        (
            "url: https://a.example\n      headers: {Authorization: Bearer abc}",
            "headers.Authorization: secrets do not belong in this file; write ${NAME} here, and NAME into .env",
        ),
        ("url: https://a.example\n      headers: {'X Y': a}", "tools.http.tool.headers"),
        ('url: https://a.example\n      headers: {X-Y: "a\\r\\nb"}', "must not hold control characters"),
        (
            "url: https://a.example\n      parameters: {a: {type: strnig}}",
            "parameters: what they make together is no JSON Schema: properties.a.type: 'strnig' is not",
        ),
        ("url: https://a.example\n      parameters: {caller: {}}", "'caller' is already a fact of the call"),
        ("url: https://a.example\n      parameters: {customer: {}}", "'customer' is already a fact of the call"),
        ("url: https://a.example\n      parameters: {a: {}}\n      required: [b]", "there is no 'b' below parameters"),
        (
            "url: https://a.example\n      parameters: {a: {$ref: 'http://b.example'}}",
            "refers to 'http://b.example' outside itself",
        ),
        ("url: https://a.example\n      when: pre_call", "result: needed: name what this tool finds out"),
        (
            "url: https://a.example\n      when: pre_call\n      result: {customer: name}",
            "result.customer: who finds out 'customer' already",
        ),
        (
            "url: https://a.example\n      when: pre_call\n      result: {caller: name}",
            "result.caller: 'caller' is already a fact of the call",
        ),
        (
            "url: https://a.example\n      when: post_call\n      parameters: {a: {}}",
            "parameters: nobody gives arguments to a post_call tool",
        ),
        (
            "url: 'https://a.example/{customer}'\n      when: pre_call\n      result: {b: c}",
            "there is nothing to put in the place {customer}",
        ),
    ],
)
def test_mistakes_in_an_http_tool(file: Path, lines: str, why: str) -> None:
    found = problems(file, f"{HTTP}      {lines}\n")
    assert len(found) == 1
    assert why in found[0]
    assert int(found[0].split(":")[1]) >= 10


def test_what_pre_call_tools_find_out_is_for_the_others(file: Path) -> None:
    places = "https://a.example/{customer}?{call_id}&{agent}"
    loaded(file, f"{HTTP}      url: '{places}'\n")
    loaded(file, f"{HTTP}      url: '{places}&{{transcript}}&{{outcome}}'\n      when: post_call\n")


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("{}", "tools.mcp.x: needs either url or command"),
        ("{url: 'http://a.example', command: y}", "tools.mcp.x: needs either url or command"),
        ("{command: y, headers: {A: b}}", "tools.mcp.x.headers: headers go with url"),
        ("{url: 'http://a.example', args: [b]}", "tools.mcp.x.args: args and env go with command"),
        ("{command: y, env: {A: '{caller}'}}", "there is nothing to put in the place {caller}; a secret is written"),
        ("{command: y, api_key: z}", "tools.mcp.x.api_key: secrets do not belong in this file"),
    ],
)
def test_mistakes_in_an_mcp_server(file: Path, server: str, why: str) -> None:
    [found] = problems(file, f"default_agent: a\nagents: {{a: {{}}}}\ntools:\n  mcp:\n    x: {server}\n")
    assert found.startswith("c.yaml:5: ")
    assert why in found


def test_names_that_are_taken_or_fit_no_provider(file: Path) -> None:
    spec = "{description: Try., url: 'https://a.example'}"
    text = f"default_agent: a\nagents: {{a: {{}}}}\ntools:\n  http:\n    transfer: {spec}\n"
    assert problems(file, text) == [
        "c.yaml:5: tools.http.transfer: transfer is a tool of the engine's own; choose another name"
    ]
    [found] = problems(file, text.replace("transfer:", "'check order':"))
    assert found.startswith("c.yaml:5: tools.http.check order")
