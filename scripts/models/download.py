"""One file over HTTP, resumed where it broke off."""

import contextlib
import errno
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from scripts.models.errors import DiskError, HostError

SPARE = 32 << 20
"""Bytes to leave free on the disk."""
_ATTEMPTS = 100
"""However much each of them brings."""
_WORTH = 64 << 10
"""Bytes an attempt must bring to be taken for better than none."""
_NO_HOST = (
    "Is there a network? Behind a proxy set HTTPS_PROXY; with a mirror give --base-url URL. What has arrived is kept: "
    "the same command goes on from there."
)

Watch = Callable[[int, int | None], None]
"""Told the bytes here so far, and all there will be, if the host said."""


@dataclass(frozen=True, slots=True)
class Patience:
    """With a host that does not do as it should."""

    stall_seconds: float = 30.0
    """Without a byte, before the connection is given up."""
    tries: int = 4
    """In a row that bring next to nothing."""
    pause_seconds: float = 1.0
    """After the first of them; doubled after each further one."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a host said of the file that a part is the beginning of; kept beside the part."""

    url: str
    validator: str
    """ETag or date: with it a host can say whether it still is the same file. Empty if it gave none."""
    total: int | None
    announced: str | None
    """The SHA-256, from a host that tells."""


class _BrokenOff(Exception):
    """This attempt is over; another one may do better."""


class Downloader:
    """Fetches files. Proxies and certificates come from the standard variables."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        timeout = httpx.Timeout(patience.stall_seconds, connect=min(10.0, patience.stall_seconds))
        try:
            self._client = httpx.Client(timeout=timeout, follow_redirects=True)
        except (ImportError, ValueError, OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise HostError(f"the proxy or certificate variables cannot be used: {error}", "Correct them.") from error

    def close(self) -> None:
        self._client.close()

    def fetch(self, url: str, part: Path, watch: Watch, expected_bytes: int | None = None) -> str | None:
        """Bring ``url`` whole into ``part``, which may hold its beginning; the SHA-256 its host announced, if any.

        Raises HostError if the host does not give it, or offers something else than ``expected_bytes``; DiskError if
        there is no room. What has arrived stays in ``part`` either way.
        """
        most = fruitless = 0
        for _ in range(_ATTEMPTS):
            try:
                return self._attempt(url, part, watch, expected_bytes)
            except _BrokenOff as broken:
                reached = _size(part)
                fruitless = 0 if reached >= most + _WORTH else fruitless + 1
                most = max(most, reached)
                if fruitless >= self._patience.tries:
                    raise HostError(f"{url}: {broken}", _NO_HOST) from broken
                if fruitless:
                    time.sleep(self._patience.pause_seconds * 2 ** (fruitless - 1))
            except httpx.HTTPError as error:
                raise HostError(f"{url}: {error}", _NO_HOST) from error
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise DiskError(
                    f"the disk became full after {_size(part):,} bytes of {url}",
                    "Make room and repeat the command: it goes on from there.",
                ) from error
        raise HostError(f"{url}: broke off {_ATTEMPTS} times", _NO_HOST)

    def _attempt(self, url: str, part: Path, watch: Watch, expected_bytes: int | None) -> str | None:
        offer = _read_offer(part, url)
        have = _size(part) if offer and offer.validator else 0
        if offer and have and have == offer.total:
            return offer.announced
        headers = {"Accept-Encoding": "identity"}
        if offer and have:
            headers |= {"Range": f"bytes={have}-", "If-Range": offer.validator}
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                start = _start(response, offer, have, part)
                new = offer if offer and start else _offer_of(response, url)
                _check_offer(response, new, expected_bytes)
                _check_room(part, new.total, start)
                _offer_path(part).write_text(json.dumps(asdict(new)))
                _receive(response, part, start, lambda here: watch(here, new.total))
        except httpx.TransportError as error:
            raise _BrokenOff(str(error) or type(error).__name__) from error
        if new.total is not None and _size(part) != new.total:
            raise _BrokenOff(f"{_size(part):,} bytes came instead of {new.total:,}")
        return new.announced


def discard(part: Path) -> None:
    """A part and what is known of it."""
    part.unlink(missing_ok=True)
    _offer_path(part).unlink(missing_ok=True)


def settle(part: Path, final: Path) -> None:
    """A part that is whole becomes ``final``."""
    part.replace(final)
    _offer_path(part).unlink(missing_ok=True)


def _receive(response: httpx.Response, part: Path, start: int, arrived: Callable[[int], None]) -> None:
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        here = start
        for piece in response.iter_raw():
            file.write(piece)
            here += len(piece)
            arrived(here)


def _start(response: httpx.Response, offer: _Offer | None, have: int, part: Path) -> int:
    """Where in the file this answer begins; raises if it is not an answer of use."""
    status = response.status_code
    if status == httpx.codes.OK:
        return 0
    if have and offer and status == httpx.codes.PARTIAL_CONTENT:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", ""))
        if said and int(said[1]) == have and said[2] in ("*", str(offer.total)):
            return have
        discard(part)
        raise _BrokenOff("the host answered with another range than was asked for")
    if have and status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        discard(part)
        raise _BrokenOff("the host has less of the file than is here")
    said_so = f"{response.url} answers {status} {response.reason_phrase}"
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise HostError(
            said_so, "The host wants a login or your consent to a licence: open the model's page in a browser."
        )
    if status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        raise HostError(
            said_so,
            "The file has moved: find it on the model's page, then use --catalogue FILE with the new address "
            "(scripts/models/catalogue.yaml shows the form).",
        )
    if status in (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS) or status >= 500:
        raise _BrokenOff(said_so)
    raise HostError(said_so, "Try the address in a browser.")


def _offer_of(response: httpx.Response, url: str) -> _Offer:
    headers = response.headers
    etag = headers.get("etag", "")
    length = headers.get("content-length", "")
    # Hugging Face names a large file's SHA-256 in the answer that redirects to its store.
    linked = [answer.headers.get("x-linked-etag", "").strip('"').lower() for answer in (*response.history, response)]
    return _Offer(
        url=url,
        # A weak ETag does not promise the same bytes.
        validator=etag if etag and not etag.startswith("W/") else headers.get("last-modified", ""),
        total=int(length) if length.isdigit() else None,
        announced=next((value for value in linked if re.fullmatch("[0-9a-f]{64}", value)), None),
    )


def _check_offer(response: httpx.Response, offer: _Offer, expected_bytes: int | None) -> None:
    if offer.url.startswith("https:") and response.url.scheme != "https":
        raise HostError(f"{offer.url} redirects to {response.url}, without encryption", "Do not fetch it from there.")
    if response.headers.get("content-type", "").partition(";")[0].strip() == "text/html":
        raise HostError(
            f"{response.url} answers with a web page instead of the file",
            "A login page of this network, perhaps? Open the address in a browser.",
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise HostError(f"{response.url} sends the file compressed, unasked", "Use another source, or --base-url URL.")
    if expected_bytes is not None and offer.total not in (None, expected_bytes):
        raise HostError(
            f"{response.url} offers {offer.total:,} bytes, and the catalogue says {expected_bytes:,}",
            "It is another file. If its publisher says so too, fetch it with --sha256 and the checksum they give.",
        )


def _check_room(part: Path, total: int | None, start: int) -> None:
    need = (total or 0) - start + SPARE
    free = shutil.disk_usage(part.parent).free
    if free < need:
        raise DiskError(
            f"{need:,} bytes are needed in {part.parent}, and {free:,} are free",
            "Make room, or choose another disk with --models DIR.",
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _offer_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_offer(part: Path, url: str) -> _Offer | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        offer = _Offer(**json.loads(_offer_path(part).read_text()))
        return offer if offer.url == url and part.exists() else None
    return None
