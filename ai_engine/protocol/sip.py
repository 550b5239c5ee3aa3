"""As much of SIP as it takes to ask a server something: requests, answers, digest authentication (RFC 3261, 8760)."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

_LARGEST = 64 * 1024
"""Bytes of a message that are waited for; beyond that its sender is not taken seriously."""
_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?")
_PARAMETER = re.compile(r'(?<![\w-])([\w-]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s,"]+)')
_CHALLENGES, _CHALLENGE = 8, 4000
"""How many are looked at, and how many characters of one: what a stranger sends must not cost time."""
_USER_SAFE = "-_.~+"
"""What the user part of a URI may hold as it is (25.1), as far as Asterisk's ``from_user`` takes it."""


def user_part(name: str) -> str:
    """``name`` as the user of a URI."""
    return quote(name, safe=_USER_SAFE, errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class Asker:
    """What is the same in all requests of one conversation."""

    transport: str
    """``UDP``, ``TCP`` or ``TLS``."""
    local: str
    """Our ``host:port``, as the socket has it."""
    uri: str
    """Of the server."""
    user_uri: str
    """Who asks, and for whom."""
    call_id: str
    tag: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request with no body; the same one again is a retransmission."""

    asker: Asker
    method: str
    number: int
    """Of CSeq."""
    branch: str
    authorization: tuple[str, str] | None = None
    """A header's name and value."""

    def __bytes__(self) -> bytes:
        asker = self.asker
        headers = [
            ("Via", f"SIP/2.0/{asker.transport} {asker.local};rport;branch={self.branch}"),
            ("Max-Forwards", "70"),
            ("From", f"<{asker.user_uri}>;tag={asker.tag}"),
            ("To", f"<{asker.user_uri if self.method == 'REGISTER' else asker.uri}>"),
            ("Call-ID", asker.call_id),
            ("CSeq", f"{self.number} {self.method}"),
            ("User-Agent", "Offhook"),
            *(() if self.authorization is None else (self.authorization,)),
            ("Content-Length", "0"),
        ]
        lines = (f"{self.method} {asker.uri} SIP/2.0", *(f"{name}: {value}" for name, value in headers), "", "")
        return "\r\n".join(lines).encode(errors="surrogateescape")

    def is_answered_by(self, response: "Response") -> bool:
        """By the branch of the topmost Via, and by CSeq (17.1.3)."""
        branch = re.search(r";\s*branch\s*=\s*([^;,\s]+)", response.header("via"))
        asked = (str(self.number), self.method)
        return branch is not None and branch[1] == self.branch and tuple(response.header("cseq").split()) == asked


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answers."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """Long names in small letters."""

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(value for each, value in self.headers if each == name)

    def header(self, name: str) -> str:
        """The topmost one, or nothing."""
        return next(iter(self.all(name)), "")

    @property
    def final(self) -> bool:
        return self.status >= 200

    @property
    def seen_as(self) -> str:
        """The address it says our request came from, ``host:port``; empty where it says nothing of it (RFC 3581)."""
        via = self.header("via").split(",")[0]
        host, port = re.search(r";\s*received\s*=\s*\[?([0-9A-Fa-f.:]+)", via), re.search(r";\s*rport\s*=\s*(\d+)", via)
        sent_by = re.match(r"SIP/2\.0/\w+\s+(\[[^\]]*\]|[^\s;:]+)", via)
        if port is None or not (host or sent_by):
            return ""
        shown = host[1] if host else sent_by[1] if sent_by else ""
        return f"{f'[{shown}]' if ':' in shown and not shown.startswith('[') else shown}:{port[1]}"


def parse_response(data: bytes) -> Response:
    """Of one datagram, or of one message up to its empty line. Raises ValueError for anything else."""
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").partition("\n\n")[0]
    first, *lines = re.sub(r"\n[ \t]+", " ", text).split("\n")  # a line that begins with a space goes on (7.3.1)
    if (status := _STATUS_LINE.fullmatch(first)) is None:
        raise ValueError("no answer of SIP")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers.append((_COMPACT.get(name, name), value.strip()))
    return Response(int(status[1]), (status[2] or "").strip(), tuple(headers))


class ResponseStream:
    """Answers out of a stream of bytes."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> list[Response]:
        """Those that are whole now. Raises ValueError when no further one can be found."""
        self._waiting += data
        found: list[Response] = []
        while True:
            self._waiting = self._waiting.lstrip(b"\r\n")  # keep-alives (RFC 5626, 3.5.1)
            end = self._waiting.find(b"\r\n\r\n")
            if end < 0:
                self._check(len(self._waiting))
                return found
            response = parse_response(self._waiting[:end])
            length = response.header("content-length") or "0"
            if not re.fullmatch(r"[0-9]{1,9}", length):
                raise ValueError("an answer of SIP with no length")
            whole = end + 4 + int(length)
            self._check(whole)
            if len(self._waiting) < whole:
                return found
            self._waiting = self._waiting[whole:]
            found.append(response)

    def _check(self, length: int) -> None:
        if length > _LARGEST:
            raise ValueError(f"an answer of more than {_LARGEST} bytes")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants proven."""

    realm: str
    nonce: str
    algorithm: str
    qop: bool
    opaque: str | None
    stale: bool
    """The password was right, and the nonce too old."""
    proxy: bool


def challenge_of(response: Response) -> Challenge | None:
    """The first one that can be met, of a 401 or 407. Raises ValueError when it has some, and none can be met."""
    proxy = response.status == 407
    offered = response.all("proxy-authenticate" if proxy else "www-authenticate")[:_CHALLENGES]
    for text in offered:
        scheme, _, rest = text.partition(" ")
        fields = {name.lower(): _unquoted(value) for name, value in _PARAMETER.findall(rest[:_CHALLENGE])}
        algorithm, qops = fields.get("algorithm", "MD5"), re.split(r"[\s,]+", fields.get("qop", ""))
        known = algorithm.upper() in _HASHES and (qops == [""] or "auth" in qops)
        if scheme.lower() == "digest" and known and "nonce" in fields:
            stale = fields.get("stale", "").lower() == "true"
            realm, nonce, opaque = fields.get("realm", ""), fields["nonce"], fields.get("opaque")
            return Challenge(realm, nonce, algorithm, qops != [""], opaque, stale, proxy)
    if offered:
        raise ValueError("it wants a proof that is neither digest MD5 nor SHA-256")
    return None


def authorization(
    challenge: Challenge, method: str, uri: str, *, username: str, password: str, cnonce: str
) -> tuple[str, str]:
    """The header, name and value, that meets ``challenge``, whose nonce is used for the first time."""
    digest, session = _HASHES[challenge.algorithm.upper()]
    secret = digest(f"{username}:{challenge.realm}:{password}")
    if session:
        secret = digest(f"{secret}:{challenge.nonce}:{cnonce}")
    once = f"00000001:{cnonce}:auth:" if challenge.qop else ""
    answer = digest(f"{secret}:{challenge.nonce}:{once}{digest(f'{method}:{uri}')}")
    fields = [
        ("username", _quoted(username)),
        ("realm", _quoted(challenge.realm)),
        ("nonce", _quoted(challenge.nonce)),
        ("uri", _quoted(uri)),
        ("response", _quoted(answer)),
        ("algorithm", challenge.algorithm),
    ]
    if challenge.opaque is not None:
        fields.append(("opaque", _quoted(challenge.opaque)))
    if challenge.qop or session:
        fields.append(("cnonce", _quoted(cnonce)))
    if challenge.qop:
        fields += [("qop", "auth"), ("nc", "00000001")]
    value = "Digest " + ", ".join(f"{name}={text}" for name, text in fields)
    return ("Proxy-Authorization" if challenge.proxy else "Authorization", value)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


_HASHES: dict[str, tuple[Callable[[str], str], bool]] = {
    "MD5": (_md5, False),
    "MD5-SESS": (_md5, True),
    "SHA-256": (_sha256, False),
    "SHA-256-SESS": (_sha256, True),
}


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
