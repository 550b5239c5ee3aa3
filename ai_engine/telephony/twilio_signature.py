"""Whether a request was signed by Twilio."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import parse_qs, parse_qsl, urlsplit

from ai_engine.jobs.ports import SignedRequest

SIGNATURE = "x-twilio-signature"
SETTINGS = "x-twilio-webhooks-signature-settings"

FORM = "application/x-www-form-urlencoded"

_HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
_SPELLINGS = {"https": "wss", "http": "ws"}
_MOST_FIELDS = 300

Pairs = list[tuple[str, str]]


def valid(request: SignedRequest, public_base_url: str, auth_token: str, signature_key: str = "") -> bool:
    """Whether ``request``, made at ``public_base_url`` and its own path, carries the signature of who knows the secret.

    That is ``auth_token``; for a signature that names a key, ``signature_key`` where there is one. Without a secret no
    request is valid.
    """
    settings = _settings(request.headers.get(SETTINGS, ""))
    hash_name = _HASHES.get(settings.get("algorithm", "").upper() or "HMAC_SHA1")
    secret = (signature_key if "key" in settings else "") or auth_token
    given = request.headers.get(SIGNATURE, "")
    if hash_name is None or not secret or not given:
        return False
    url = public_base_url.rstrip("/") + request.url
    pairs = signed_pairs(request)
    if pairs is None:
        return False
    text = "".join(name + value for name, value in sorted(set(pairs)))
    # Every one is compared, so that the time it takes tells nothing.
    found = [
        hmac.compare_digest(_signature(secret, spelling + text, hash_name), given.encode(errors="replace"))
        for spelling in spellings(url, upgrade=request.headers.get("upgrade", "").lower() == "websocket")
    ]
    return any(found)


def form_of(request: SignedRequest) -> Pairs:
    """The fields of a form; none of a body that is no form, or that no form of Twilio's looks like."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return []
    try:
        return parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def signed_pairs(request: SignedRequest) -> Pairs | None:
    """What of the body is signed with the URL: the fields of a form. None: the body is not what was signed.

    Of any other body the URL holds the hash, ``bodySHA256``.
    """
    if not request.body or request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        return form_of(request)
    hashes = parse_qs(urlsplit(request.url).query).get("bodySHA256", [""])
    found = hashlib.sha256(request.body).hexdigest()
    return [] if hmac.compare_digest(found.encode(), hashes[0].lower().encode(errors="replace")) else None


def spellings(url: str, *, upgrade: bool = False) -> list[str]:
    """The ways in which Twilio may have written ``url`` when it signed it: with its port and without, and that of a
    WebSocket as ``wss`` or ``https``. None for what is no URL.
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, port = _split(authority)
    if not separator or scheme not in _PORTS or not host:
        return []
    schemes = [scheme, _SPELLINGS[scheme]] if upgrade and scheme in _SPELLINGS else [scheme]
    ports = ("", f":{port or _PORTS[scheme]}")
    return [f"{name}://{host}{colon}{slash}{path}" for name in schemes for colon in ports]


def _signature(secret: str, text: str, hash_name: str) -> bytes:
    return b64encode(hmac.new(secret.encode(), text.encode(errors="surrogatepass"), hash_name).digest())


def _settings(header: str) -> Mapping[str, str]:
    """``key=…,algorithm=…``."""
    parts = (part.partition("=") for part in header.split(","))
    return {name.strip(): value.strip() for name, equals, value in parts if equals and value.strip()}


def _split(authority: str) -> tuple[str, str]:
    """Host and port, which may be empty; that of an IPv6 address keeps its brackets."""
    host, colon, port = authority.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        return host, port
    return authority, ""
