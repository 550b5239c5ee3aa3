"""How the local server is, asked over HTTP on the port it serves calls on."""

import json
import urllib.error
import urllib.request
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past any ``http_proxy``: calls go there directly too."""


def probe_local_server(url: str, seconds: float = 1.0) -> dict[str, Any]:
    """Plain data for ``/health``. Blocks up to ``seconds``: for the office, never for the call loop."""
    scheme, rest = url.split("://", 1)
    address = f"{'https' if scheme == 'wss' else 'http'}://{rest.split('/', 1)[0]}/ready"
    try:
        with _DIRECT.open(address, timeout=seconds) as reply:
            said = json.load(reply)
    except (OSError, ValueError, urllib.error.URLError) as error:
        return {"up": False, "url": url, "error": str(error)}
    return {"up": True, "url": url, **(said if isinstance(said, dict) else {})}
