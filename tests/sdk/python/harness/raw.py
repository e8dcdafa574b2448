"""An HTTP/1.1 client on a bare socket: it sends exactly the bytes it is told to and reads exactly one answer.

Library clients repair what these tests need broken (Host, Content-Length, header case, request targets).
"""

import base64
import hashlib
import json
import socket
from dataclasses import dataclass, field

from . import oss4, settings

TIMEOUT_SECONDS = 30


class Closed(Exception):
    """The server ended the connection before a whole answer had arrived; `partial` is what did arrive."""

    def __init__(self, partial: bytes):
        super().__init__(f"connection closed after {len(partial)} bytes")
        self.partial = partial


@dataclass
class Response:
    status: int
    reason: str
    headers: list
    body: bytes

    def header(self, name: str):
        """The value of a header that occurs at most once; None when absent."""
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) <= 1, f"{name} sent {len(values)} times"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    @property
    def error(self) -> dict:
        """The members of the error body."""
        return self.json()["Error"]

    @property
    def code(self) -> str | None:
        """The error code, None for a success."""
        return self.error["Code"] if self.status >= 300 and self.body else None


class Connection:
    """One connection. `send` writes bytes; `receive` reads one answer."""

    def __init__(self, port: int, timeout: float = TIMEOUT_SECONDS):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data: bytes):
        self.socket.sendall(data)

    def receive(self, head_only: bool = False) -> Response:
        """One answer; 100-continue interim answers are returned as they come. `head_only`: the request was HEAD."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.split("\r\n")
        version, status, *reason = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if line]
        answer = Response(int(status), reason[0] if reason else "", headers, b"")
        if not head_only and answer.status not in (100, 204, 304):
            answer.body = self._body(answer)
        return answer

    def ended(self) -> bool:
        """True when the server has closed its side and sent nothing more."""
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _body(self, answer: Response) -> bytes:
        if (answer.header("transfer-encoding") or "").lower() == "chunked":
            return self._chunks()
        return self._exactly(int(answer.header("content-length") or 0))

    def _chunks(self) -> bytes:
        out = b""
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            out += self._exactly(size)
            self._exactly(2)
        self._until(b"\r\n")
        return out

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self._more()
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def _more(self):
        try:
            data = self.socket.recv(1 << 20)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            raise Closed(self.buffer)
        self.buffer += data


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


@dataclass
class Request:
    """A request before it is turned into bytes. Every member may be set to something no SDK would send."""

    method: str = "POST"
    query: str = ""
    body: bytes = b""
    bucket: str | None = None
    style: str = "virtual"
    """virtual | path | absolute: where the bucket goes."""
    headers: list = field(default_factory=list)
    """Sent after the usual ones and signed like them; a None value drops the usual header of that name."""
    key: oss4.Key = field(default_factory=oss4.Key)
    signed: bool = True
    additional: tuple = ()
    stamp: str | None = None
    scope_date: str | None = None
    host: str | None = None
    target: str | None = None
    content_md5: bool = True
    content_length: bool = True
    authorization: str | None = None
    """Overrides the computed Authorization header."""

    def authority(self, port: int) -> str:
        if self.host is not None:
            return self.host
        if self.style == "path":
            return f"127.0.0.1:{port}"
        prefix = f"{self.bucket}-{self.key.account}." if self.bucket else ""
        return prefix + settings.BASE_DOMAIN

    def request_target(self, port: int) -> str:
        if self.target is not None:
            return self.target
        path = f"/{self.bucket}/" if self.style == "path" and self.bucket else "/"
        whole = path + (f"?{self.query}" if self.query else "")
        return f"http://{self.authority(port)}{whole}" if self.style == "absolute" else whole

    def final_headers(self, port: int) -> list:
        """Every header in order, Authorization last."""
        stamp = self.stamp or oss4.timestamp()
        usual = [("Host", self.authority(port)), ("User-Agent", "raw-socket/1")]
        if self.signed:
            usual += [("x-oss-date", stamp), ("x-oss-content-sha256", oss4.UNSIGNED)]
        if self.content_md5:
            usual.append(("Content-MD5", md5(self.body)))
        if self.body:
            usual.append(("Content-Type", "application/json"))
        if self.content_length:
            usual.append(("Content-Length", str(len(self.body))))
        replaced = {name.lower() for name, _ in self.headers}
        headers = [h for h in usual if h[0].lower() not in replaced] + [h for h in self.headers if h[1] is not None]
        if self.authorization is not None:
            headers.append(("Authorization", self.authorization))
        elif self.signed:
            headers.append(("Authorization", self._sign(headers, stamp)))
        return headers

    def _sign(self, headers, stamp) -> str:
        return oss4.authorization(
            self.key, self.method, self.bucket, self.query, headers, stamp, self.additional, self.scope_date
        )

    def head(self, port: int) -> bytes:
        lines = [f"{self.method} {self.request_target(port)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.final_headers(port)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    def bytes(self, port: int) -> bytes:
        return self.head(port) + self.body


class Client:
    """Signed calls against one server, a fresh connection each unless one is given."""

    def __init__(self, port: int, key: oss4.Key | None = None):
        self.port = port
        self.key = key or oss4.Key()

    def send(self, request: Request, connection: Connection | None = None) -> Response:
        if connection is not None:
            connection.send(request.bytes(self.port))
            return connection.receive(head_only=request.method == "HEAD")
        with Connection(self.port) as fresh:
            return self.send(request, fresh)

    def call(self, method: str, query: str, body=b"", bucket=None, connection=None, **more) -> Response:
        """`body`: bytes as they are, or anything json.dumps takes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(Request(method, query, raw, bucket, key=self.key, **more), connection)

    def post(self, operation: str, body, bucket: str, **more) -> Response:
        return self.call("POST", operation, body, bucket, **more)
