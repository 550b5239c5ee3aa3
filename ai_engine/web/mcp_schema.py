"""JSON Schemas of tools as language models like them: whole, and without alternatives that say nothing."""

from collections.abc import Collection
from typing import Any

from ai_engine.jobs.request import Wire


def schema_of(model: type[Wire], without: Collection[str] = ()) -> dict[str, Any]:
    """The model's, without references, titles and nulls: what may be null may as well be left out. ``without`` these
    keys, which are taken all the same."""
    whole = model.model_json_schema(by_alias=True)
    whole["properties"] = {key: value for key, value in whole["properties"].items() if key not in without}
    plain = _plain(whole, whole.get("$defs", {}))
    assert isinstance(plain, dict)
    return plain


def _plain(node: Any, parts: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = {**parts[node["$ref"].rpartition("/")[2]], **{key: node[key] for key in node if key != "$ref"}}
    if "anyOf" in node:
        kinds = [kind for kind in node["anyOf"] if kind != {"type": "null"}]
        node = {key: value for key, value in node.items() if key != "anyOf"}
        node = _plain({**kinds[0], **node}, parts) if len(kinds) == 1 else {**node, "anyOf": kinds}
    return {
        key: {name: _plain(one, parts) for name, one in value.items()} if key == "properties" else _plain(value, parts)
        for key, value in node.items()
        if not (key in ("$defs", "title") or (key == "default" and value is None))
    }
