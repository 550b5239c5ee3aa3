"""The local server's own word on how it is, as the engine passes it on."""

import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ai_engine.providers.local_health import probe_local_server


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
        self.wfile.write(b'{"sessions": 3}')

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"ws://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_it_says_how_it_is(url: str) -> None:
    assert probe_local_server(url) == {"up": True, "url": url, "sessions": 3}


def test_no_proxy_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "_opener", None)  # the one of urlopen, which remembers what was set before
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert probe_local_server(url)["up"] is True


def test_nobody_there(url: str) -> None:
    answer = probe_local_server("ws://127.0.0.1:1/v1")
    assert answer["up"] is False
    assert "refused" in answer["error"]
