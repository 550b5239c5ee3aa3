"""What a vendor's server says is wrong, in one line."""

import json
import re
from typing import Any

_MOST = 200

_KEYS = re.compile(r"\S*\*{3,}\S*|\b(?:sk|dg|key)[-_][\w-]{8,}")
"""Keys, whole or with their middle starred out: vendors repeat them in what they complain about."""


def complaint(body: bytes | bytearray | str | None) -> str:
    """``: …`` out of the body of a refusal, JSON or not; empty when it says nothing."""
    if not body:
        return ""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = body.decode(errors="replace") if isinstance(body, bytes | bytearray) else body
    text = _KEYS.sub("(key)", " ".join(str(_sentence(said)).split()))[:_MOST]
    return f": {text}" if text else ""


def _sentence(said: Any) -> Any:
    if isinstance(said, dict):
        for key in ("message", "err_msg", "reason", "details", "description", "error", "detail"):
            if said.get(key):
                return _sentence(said[key])
        return ""
    return said
