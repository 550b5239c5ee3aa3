"""A host of files that can misbehave in the ways real ones do."""

import re
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Served:
    """One file, and how it is given out."""

    content: bytes
    ranges: Literal["honest", "ignored", "wrong", "refused"] = "honest"
    cuts: list[int] = field(default_factory=list)
    """The connection breaks after so many bytes of a body; one entry per request, then no more."""
    held_after: int | None = None
    """So many bytes of a body are sent, then none until ``ModelHost.go``."""
    failures: list[int] = field(default_factory=list)
    """HTTP statuses to answer with first; one per request."""
    etag: str | None = None
    """None: made from the content. Empty: none is sent."""
    length: bool = True
    """Whether the body's length is said beforehand."""
    headers: dict[str, str] = field(default_factory=dict)
    redirect: str = ""
    """Answer with a redirection there; ``headers`` go with it."""


@dataclass
class ModelHost:
    """The files by path, and what was asked for."""

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    asked: dict[str, list[dict[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """The headers of each request, by path."""
    go: threading.Event = field(default_factory=threading.Event)

    def serve(self, path: str, content: bytes, **manner: Any) -> str:
        """The file's SHA-256."""
        self.files[path] = Served(content, **manner)
        return sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    host: ModelHost

    def do_GET(self) -> None:
        # As a proxy it gets whole addresses.
        path = re.sub(r"^http://[^/]*", "", self.path)
        self.host.asked[path].append({name.lower(): value for name, value in self.headers.items()})
        served = self.host.files.get(path)
        if served is None:
            return self.send_error(404)
        if served.failures:
            return self.send_error(served.failures.pop(0))
        if served.redirect:
            return self._head(302, {"Location": served.redirect, "Content-Length": "0", **served.headers})
        return self._give(served)

    def _give(self, served: Served) -> None:
        etag = f'"{sha256(served.content).hexdigest()[:16]}"' if served.etag is None else served.etag
        headers = {"ETag": etag} if etag else {}
        start = self._start(served, etag)
        if start and served.ranges == "refused":
            return self._head(416, {"Content-Range": f"bytes */{len(served.content)}", "Content-Length": "0"})
        if start:
            off = 1 if served.ranges == "wrong" else 0
            end = len(served.content) - off
            headers["Content-Range"] = f"bytes {start - off}-{end - 1}/{len(served.content)}"
            body = served.content[start - off : end]
        else:
            body = served.content
        if served.length:
            headers["Content-Length"] = str(len(body))
        self._head(206 if start else 200, headers | served.headers)
        return self._send(served, body)

    def _send(self, served: Served, body: bytes) -> None:
        cut = served.cuts.pop(0) if served.cuts else None
        try:
            if served.held_after is not None and not self.host.go.is_set():
                self.wfile.write(body[: served.held_after])
                self.host.go.wait()
                body = body[served.held_after :]
            self.wfile.write(body[:cut])
        except OSError:
            return  # whoever asked is gone
        if cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)

    def _start(self, served: Served, etag: str) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or served.ranges == "ignored" or self.headers.get("If-Range") != etag:
            return 0
        return int(asked[1])

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: ``asked`` is the log."""


@contextmanager
def running(certificate: Path | None = None) -> Iterator[ModelHost]:
    """A host on a free port of the loopback, until the block ends; encrypted where it gets a certificate."""

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate:
            encryption = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            encryption.load_cert_chain(certificate)
            server.socket = encryption.wrap_socket(server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        host = Handler.host = ModelHost(f"{scheme}://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield host
        finally:
            host.go.set()
            server.shutdown()
            thread.join()


def make_certificate(path: Path) -> Path:
    """A certificate for the loopback with its key, in PEM; it vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "model host for tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
