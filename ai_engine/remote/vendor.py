"""What a vendor's server says is wrong, in one line."""

import json
from typing import Any

_MOST = 200


def complaint(body: bytes | bytearray | str | None) -> str:
    """``: …`` out of the body of a refusal, JSON or not; empty when it says nothing."""
    if not body:
        return ""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = body.decode(errors="replace") if isinstance(body, bytes | bytearray) else body
    text = " ".join(str(_sentence(said)).split())[:_MOST]
    return f": {text}" if text else ""


def _sentence(said: Any) -> Any:
    if isinstance(said, dict):
        for key in ("message", "err_msg", "reason", "details", "description", "error", "detail"):
            if said.get(key):
                return _sentence(said[key])
        return ""
    return said
