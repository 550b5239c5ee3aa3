"""An HTTP tool sends what the file says, lets nothing out of its place, and answers whatever the server does."""

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from yarl import URL

from ai_engine.remote.http import SharedHttp
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.http import HttpTool
from ai_engine.tools.http_settings import HttpToolSettings
from tests.fakes.tool_call import ToolCall
from tests.fakes.tool_servers import HttpTarget, Reply
from tests.waiting import until

KEYS = {"SHOP_KEY": "s3cret/&key", "OTHER_KEY": "not for this tool"}
TEXT = {"type": "string"}


class Tried:
    """A tool on a target; the tool's settings are made from ``spec``, whose URL begins with a slash."""

    def __init__(
        self, target: HttpTarget, http: SharedHttp, spec: Mapping[str, Any], leave: Callable[[], Awaitable[None]]
    ) -> None:
        """``leave``: the server goes away."""
        settings = HttpToolSettings.model_validate_json(
            json.dumps({"description": "Try.", **spec, "url": f"{target.url}{spec['url']}"})
        )
        self.target = target
        self.leave = leave
        self.http = http
        self.tool = HttpTool("check_order", settings, KEYS, http)
        self.call = ToolCall({"customer": "Zoë"})

    async def use(self, **arguments: Any) -> Mapping[str, Any]:
        result, _ = await Toolbox([self.tool]).use("check_order", arguments, self.call)
        return result


@asynccontextmanager
async def trying(
    spec: Mapping[str, Any], replies: Mapping[str, Reply | list[Reply]] | None = None
) -> AsyncIterator[Tried]:
    http = SharedHttp()
    target = HttpTarget({"/orders": Reply(body={"status": "on its way"})} if replies is None else replies)
    async with AsyncExitStack() as open_:
        open_.push_async_callback(http.close)
        serving = await open_.enter_async_context(AsyncExitStack())
        await serving.enter_async_context(target.listening())
        yield Tried(target, http, spec, serving.aclose)


async def test_everything_is_put_in_its_place() -> None:
    spec = {
        "method": "POST",
        "url": "/shops/{shop}/orders?from={caller}",
        "query": {"key": "${SHOP_KEY}", "q": "for {customer}", "none": "{note}"},
        "headers": {"Authorization": "Bearer ${SHOP_KEY}", "X-Call": "{call_id}", "X-None": "{note}"},
        "body": {"number": "{number}", "who": "{agent} of {dialled}", "tags": ["{shop}", 7, None], "note": "{note}"},
        "parameters": {"shop": TEXT, "number": {"type": "integer"}, "note": TEXT},
        "required": ["shop", "number"],
    }
    async with trying(spec, {"/shops/a b/orders": Reply(201, {"status": "new"})}) as tried:
        assert await tried.use(shop="a b", number=7) == {"ok": True, "result": {"status": "new"}}
        [request] = tried.target.requests
    assert request.method == "POST"
    assert request.query == {"from": ["+15551234"], "key": [KEYS["SHOP_KEY"]], "q": ["for Zoë"]}
    assert request.headers["authorization"] == f"Bearer {KEYS['SHOP_KEY']}"
    assert request.headers["x-call"] == "call-1"
    assert "x-none" not in request.headers
    assert request.json == {"number": 7, "who": "reception of 100", "tags": ["a b", 7, None]}


async def test_a_form() -> None:
    spec = {
        "method": "PUT",
        "url": "/orders",
        "body_format": "form",
        "body": {"name": "{name}", "people": "{people}", "note": "a&b={name}"},
        "parameters": {"name": TEXT, "people": {"type": "integer"}},
    }
    async with trying(spec) as tried:
        assert (await tried.use(name="Zoë & Co", people=2))["ok"]
    assert tried.target.requests[0].form == {"name": "Zoë & Co", "people": "2", "note": "a&b=Zoë & Co"}


@pytest.mark.parametrize(
    "value",
    [
        "7?admin=1",
        "7&admin=1",
        "7#x",
        "a/b",
        "%2e%2e",
        "\rX-Evil: 1\t\0",
        "@evil.test",
        '"},{"x":"',
        "é",
    ],
)
async def test_a_value_stays_where_it_was_put(value: str) -> None:
    spec = {
        "method": "POST",
        "url": "/x/{number}",
        "query": {"n": "{number}"},
        "body": {"n": "{number}", "in": "<{number}>"},
        "parameters": {"number": TEXT},
    }
    async with trying(spec, {}) as tried:
        await tried.use(number=value)
        for request in tried.target.requests:
            assert request.path == f"/x/{value}"
            assert request.query == {"n": [value]}
            assert request.json == {"n": value, "in": f"<{value}>"}
            assert "x-evil" not in request.headers
        assert len(tried.target.requests) == 1


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("", "number must not be empty"),
        ("..", "number must not lead to another path"),
        ("7/../../admin", "number must not lead to another path"),
        (".", "number must not lead to another path"),
        ("..\\admin", "number must not lead to another path"),
        ("\ud800", "there are characters that cannot be sent"),
    ],
)
async def test_a_path_cannot_be_left(value: str, error: str) -> None:
    async with trying({"url": "/orders/{number}/items", "parameters": {"number": TEXT}}) as tried:
        assert await tried.use(number=value) == {"ok": False, "error": f"check_order: {error}"}
    assert tried.target.requests == []


async def test_two_places_do_not_make_a_way_out_together() -> None:
    async with trying({"url": "/orders/{a}{b}/items", "parameters": {"a": TEXT, "b": TEXT}}) as tried:
        assert not (await tried.use(a=".", b="."))["ok"]
    assert tried.target.requests == []


async def test_a_header_holds_one_line() -> None:
    async with trying({"url": "/orders", "headers": {"X-Who": "{who}"}, "parameters": {"who": TEXT}}) as tried:
        assert await tried.use(who="a\r\nX-Evil: 1") == {
            "ok": False,
            "error": "check_order: the header X-Who would hold a line break or another control character",
        }
    assert tried.target.requests == []


async def test_an_argument_is_no_template() -> None:
    spec = {"url": "/orders", "query": {"q": "{q}"}, "parameters": {"q": TEXT}}
    async with trying(spec) as tried:
        await tried.use(q="{caller} ${SHOP_KEY}")
    assert tried.target.requests[0].query == {"q": ["{caller} ${SHOP_KEY}"]}


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_bad_status_is_data(status: int) -> None:
    async with trying({"url": "/orders"}, {"/orders": Reply(status, {"why": "private"})}) as tried:
        assert await tried.use() == {"ok": False, "error": f"check_order answered {status}"}


async def test_the_operator_says_what_success_is() -> None:
    replies = {"/orders": [Reply(404, {"found": False}), Reply(200)]}
    async with trying({"url": "/orders", "success": [404]}, replies) as tried:
        assert await tried.use() == {"ok": True, "result": {"found": False}}
        assert await tried.use() == {"ok": False, "error": "check_order answered 200"}


async def test_parts_of_the_answer() -> None:
    spec = {
        "url": "/orders",
        "result": {"price": "items.1.price", "who": "customer.name", "none": "items.9.price", "odd": "customer.0"},
    }
    body = {"items": [{"price": 1}, {"price": 2.5}], "customer": {"name": "Zoë"}, "internal": "margin"}
    async with trying(spec, {"/orders": Reply(body=body)}) as tried:
        assert await tried.use() == {
            "ok": True,
            "result": {"price": 2.5, "who": "Zoë", "none": None, "odd": None},
        }


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        (b"\xff{", "\ufffd{"),
        (b"{'a': 1}", "{'a': 1}"),
        (b"[" * 50_000, "[" * 2000 + " …"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b"<html>" + b"x" * 5000, "<html>" + "x" * 1994 + " …"),
        (b'{"a": "\\ud800"}', {"a": "?"}),
        (b"null", None),
    ],
)
async def test_garbage_is_text(raw: bytes, result: Any) -> None:
    async with trying({"url": "/orders"}, {"/orders": Reply(raw=raw)}) as tried:
        found = await tried.use()
    assert found == {"ok": True, "result": result}
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


async def test_an_answer_without_words() -> None:
    async with trying({"url": "/orders"}, {"/orders": Reply(204, raw=b"")}) as tried:
        assert await tried.use() == {"ok": True}


async def test_parts_of_what_is_no_json() -> None:
    spec = {"url": "/orders", "result": {"a": "a"}}
    async with trying(spec, {"/orders": Reply(raw=b"<html>")}) as tried:
        assert await tried.use() == {"ok": False, "error": "check_order did not answer in JSON"}


async def test_a_huge_answer_is_left() -> None:
    async with trying({"url": "/orders"}, {"/orders": Reply(huge_bytes=10**9)}) as tried:
        result = await tried.use()
        assert result["ok"]
        assert len(result["result"]) < 2100
        await until(lambda: tried.target.requests[0].aborted)
        assert tried.target.requests[0].sent_bytes < 10**8
    async with trying({"url": "/orders", "result": {"a": "a"}}, {"/orders": Reply(huge_bytes=10**6)}) as tried:
        assert await tried.use() == {"ok": False, "error": "check_order answered more than 64 KiB"}


async def test_a_slow_server_is_left() -> None:
    spec = {"url": "/orders", "timeout_seconds": 0.1}
    async with trying(spec, {"/orders": Reply(delay_seconds=30)}) as tried:
        late = {"ok": False, "error": "check_order did not answer within 0.1 s"}
        assert await tried.use() == late
        assert await tried.tool.ask({}) == late
        await until(lambda: all(request.aborted for request in tried.target.requests))


async def test_a_server_that_is_not_there() -> None:
    async with trying({"url": "/orders"}) as tried:
        await tried.leave()
        result = await tried.use()
    assert not result["ok"]
    assert result["error"].startswith("check_order cannot be reached")


async def test_a_redirect_on_the_same_server_is_followed() -> None:
    spec = {"method": "POST", "url": "/old", "body": {"n": 1}, "headers": {"X-Key": "${SHOP_KEY}"}}
    replies = {
        "/old": [Reply(307, location="/new"), Reply(303, location="/new")],
        "/new": Reply(body="here"),
    }
    async with trying(spec, replies) as tried:
        assert await tried.use() == {"ok": True, "result": "here"}
        assert await tried.use() == {"ok": True, "result": "here"}
    requests = [(request.method, request.path, request.json) for request in tried.target.requests]
    assert requests[:2] == [("POST", "/old", {"n": 1}), ("POST", "/new", {"n": 1})]
    assert requests[3] == ("GET", "/new", None)


async def test_a_redirect_elsewhere_is_not() -> None:
    elsewhere = HttpTarget({"/": Reply()})
    async with elsewhere.listening():
        replies = {"/orders": Reply(302, location=f"{elsewhere.url}/")}
        async with trying({"url": "/orders", "headers": {"X-Key": "${SHOP_KEY}"}}, replies) as tried:
            assert await tried.use() == {
                "ok": False,
                "error": "check_order was sent on to another server, which is not followed",
            }
    assert elsewhere.requests == []


async def test_an_answer_that_is_nested_without_end() -> None:
    deep = {"/orders": Reply(raw=b"[" * 900 + b"]" * 900)}
    async with trying({"url": "/orders"}, deep) as tried:
        assert await tried.tool.ask({}) == {"ok": False, "error": "check_order: its answer is nested too deeply"}


@pytest.mark.parametrize("location", ["/orders", "http://[", "//", "gopher://x/", "http://%zz/"])
async def test_a_redirect_to_nowhere(location: str) -> None:
    async with trying({"url": "/orders"}, {"/orders": Reply(302, location=location)}) as tried:
        assert not (await tried.use())["ok"]
    assert len(tried.target.requests) <= 4


async def test_secrets_come_back_to_nobody() -> None:
    spec = {
        "method": "POST",
        "url": "/orders",
        "query": {"key": "${SHOP_KEY}"},
        "headers": {"Authorization": "Bearer ${SHOP_KEY}"},
    }
    quoted = "s3cret%2F%26key"
    body = {"you sent": f"Bearer {KEYS['SHOP_KEY']}", "url": [f"/orders?key={quoted}"], KEYS["SHOP_KEY"]: 1}
    replies = {"/orders": [Reply(body=body), Reply(503, body), Reply(302, location=f"http://[{quoted}")]}
    with capture_logs() as logs:
        async with trying(spec, replies) as tried:
            echoed = await tried.use()
            refused, lost = await tried.use(), await tried.use()
            await tried.leave()
            gone = await tried.use()
    assert echoed == {"ok": True, "result": {"you sent": "Bearer ***", "url": ["/orders?key=***"], "***": 1}}
    assert logs
    for text in map(repr, (refused, lost, gone, logs, tried.tool, vars(tried.tool)["_settings"])):
        assert KEYS["SHOP_KEY"] not in text
        assert quoted not in text
    assert KEYS["OTHER_KEY"] not in repr(vars(tried.tool))


async def test_cookies_are_not_kept_for_the_next_call() -> None:
    async with trying({"url": "/orders"}) as tried:
        await tried.use()
        tried.http.session().cookie_jar.update_cookies({"who": "zoe"}, URL(tried.target.url))
        await tried.use()
    assert all("cookie" not in request.headers for request in tried.target.requests)


async def test_a_compressed_answer_is_bounded_too() -> None:
    bomb = gzip.compress(b'"' + b"x" * 10**8 + b'"')
    async with trying({"url": "/orders"}, {"/orders": Reply(raw=bomb)}) as tried:
        assert len((await tried.use())["result"]) < 2100
