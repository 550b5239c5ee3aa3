"""Every key of a TOML file has its line, however it is written."""

import pytest

from ai_engine.config.toml_lines import read
from ai_engine.errors import ConfigError

TEXT = '''\
# a comment with [brackets] = and "quotes
top = 1

[agent.llm]
url = "http://h/#not-a-comment"   # but this is one
"quoted key" = [1, 2,  # in the middle
  "]",
]
params.model = 'x'
long = """
[not.a.header]
key = "no"
"""
last = 2

[[agent.llm.mcp_servers]]  # the first
name = "a"
headers = {X-Key = "1"}
[agent.llm.mcp_servers.more]
deep = true
[[agent.llm.mcp_servers]]
name = "b"
  [ agent . "asr" ]
vendor = "c"
'''


def test_lines() -> None:
    document = read(TEXT, "f")
    expected = {
        ("top",): 2,
        ("agent",): 4,
        ("agent", "llm"): 4,
        ("agent", "llm", "url"): 5,
        ("agent", "llm", "quoted key"): 6,
        ("agent", "llm", "params"): 9,
        ("agent", "llm", "params", "model"): 9,
        ("agent", "llm", "long"): 10,
        ("agent", "llm", "last"): 14,
        ("agent", "llm", "mcp_servers"): 16,
        ("agent", "llm", "mcp_servers", 0): 16,
        ("agent", "llm", "mcp_servers", 0, "name"): 17,
        ("agent", "llm", "mcp_servers", 0, "headers"): 18,
        ("agent", "llm", "mcp_servers", 0, "more"): 19,
        ("agent", "llm", "mcp_servers", 0, "more", "deep"): 20,
        ("agent", "llm", "mcp_servers", 1): 21,
        ("agent", "llm", "mcp_servers", 1, "name"): 22,
        ("agent", "asr"): 23,
        ("agent", "asr", "vendor"): 24,
    }
    assert document.lines == expected
    assert document.data["agent"]["llm"]["mcp_servers"][1] == {"name": "b"}
    assert document.line(("agent", "llm", "mcp_servers", 0, "headers", "X-Key")) == 18


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a = 1\nb = \n", "f:2: this is not TOML: Invalid value"),
        ("a = 1\na = 2\n", "f:2: this is not TOML: Cannot overwrite a value"),
        ('a = """\n\n', "f:3: this is not TOML: "),
        ("[a]\n[a]\n", "f:2: this is not TOML: Cannot declare ('a',) twice"),
    ],
)
def test_what_is_no_toml(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, "f")
    assert str(caught.value).startswith(error)
