"""A small object store in memory that speaks the dialects of S3, GCS (XML) and OSS, for tests on loopback.

A dialect is how a create is asked for, how its refusal looks, and how a signature looks. Signatures are looked for, not
computed: that they are right is shown against services that check them and by known answers. A flaw is a promise that
the store breaks, for the start-up probe to find out.

Invariants: all state is behind one lock, so a create race has exactly one winner unless the flaw says otherwise; lists
are in byte order, 1,000 entries a page.
"""

import hashlib
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

PAGE = 1000
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True)
class Dialect:
    name: str
    create: tuple[str, str]
    """Header and value that make a PUT a create."""
    refusal: tuple[int, str]
    """Status and code of a create of a taken name."""
    authorization: str
    """How the Authorization header begins; empty: none is asked for."""


S3 = Dialect("s3", ("if-none-match", "*"), (412, "PreconditionFailed"), "AWS4-HMAC-SHA256 Credential=")
GCS = Dialect("gcs", ("x-goog-if-generation-match", "0"), (412, "PreconditionFailed"), "")
OSS = Dialect("oss", ("x-oss-forbid-overwrite", "true"), (409, "FileAlreadyExists"), "OSS4-HMAC-SHA256 Credential=")

FLAWS = ("", "ignores-conditions", "loses-race", "versioned")


@dataclass
class State:
    dialect: Dialect
    bucket: str
    flaw: str = ""
    access_key_id: str = "id"
    objects: dict = field(default_factory=dict)
    """Key -> (bytes, time of the last write)."""
    uploads: dict = field(default_factory=dict)
    """Upload id -> (key, {part number: bytes})."""
    creates: int = 0
    overwrites_forbidden_elsewhere: int = 0
    """Requests that carried the create header although they are no put of an object."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Fake:
    """One bucket on a port of its own, served by threads of this process."""

    def __init__(self, dialect: Dialect, bucket="contract", flaw=""):
        assert flaw in FLAWS
        self.state = State(dialect, bucket, flaw)
        state = self.state
        handler = type("Bound", (Handler,), {"state": state})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    state: State
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(self.read)

    def do_HEAD(self):
        self.answer(self.read)

    def do_PUT(self):
        self.answer(self.write)

    def do_POST(self):
        self.answer(self.post)

    def do_DELETE(self):
        self.answer(self.delete)

    # --- what every request goes through ---

    def answer(self, act):
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = urllib.parse.unquote(url.path).lstrip("/")
        bucket, _, self.key = path.partition("/")
        refused = self.check(bucket)
        status, headers, body = refused or act()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(headers.get("x-length", len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def check(self, bucket):
        begins = self.state.dialect.authorization
        wanted = f"{begins}{self.state.access_key_id}/" if begins else ""
        sent = self.headers.get("authorization", "")
        if not sent.startswith(wanted):
            return error(403, "InvalidAccessKeyId", "the key is not known here")
        if wanted and "Signature=" not in sent:
            return error(403, "SignatureDoesNotMatch", "there is no signature")
        if bucket != self.state.bucket:
            return error(404, "NoSuchBucket", "The specified bucket does not exist.")
        is_put = self.command == "PUT" and self.key and "partNumber" not in self.query
        if self.is_create() and not is_put:
            self.state.overwrites_forbidden_elsewhere += 1
        return None

    def is_create(self):
        name, value = self.state.dialect.create
        return self.headers.get(name) == value

    # --- verbs ---

    def read(self):
        if not self.key and "versioning" in self.query:
            status = "<Status>Enabled</Status>" if self.state.flaw == "versioned" else ""
            return ok(f"<VersioningConfiguration>{status}</VersioningConfiguration>")
        if not self.key:
            return self.list()
        with self.state.lock:
            found = self.state.objects.get(self.key)
        if found is None:
            return error(404, "NoSuchKey", "The specified key does not exist.")
        body, written = found
        headers = stamp(body, written)
        asked = self.headers.get("range")
        if not asked:
            return 200, headers, body
        first, _, last = asked.removeprefix("bytes=").partition("-")
        first, last = int(first), min(int(last), len(body) - 1) if last else len(body) - 1
        if first >= len(body):
            return error(416, "InvalidRange", "The requested range is not satisfiable")
        headers["content-range"] = f"bytes {first}-{last}/{len(body)}"
        return 206, headers, body[first : last + 1]

    def list(self):
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("continuation-token") or self.query.get("start-after", "")
        with self.state.lock:
            under = [(key, value) for key, value in self.state.objects.items() if key.startswith(prefix)]
        found = sorted((key, len(body), at) for key, (body, at) in under)
        entries = {}
        for key, size, written in found:
            rest = key[len(prefix) :]
            folder = prefix + rest.partition(delimiter)[0] + delimiter if delimiter and delimiter in rest else None
            name = folder or key
            if name > after and not (folder and after.startswith(folder)):
                entries[name] = None if folder else (size, written)
        page = list(entries.items())[: min(PAGE, int(self.query.get("max-keys", PAGE)))]
        xml = ["<ListBucketResult>"]
        for name, object_ in page:
            if object_ is None:
                xml.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
            else:
                size, written = object_
                when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(written))
                xml.append(f"<Contents><Key>{escape(name)}</Key><LastModified>{when}</LastModified>")
                xml.append(f"<ETag>&quot;e&quot;</ETag><Size>{size}</Size></Contents>")
        more = len(page) < len(entries)
        token = f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        xml.append(f"<KeyCount>{len(page)}</KeyCount>{truncated}{token}</ListBucketResult>")
        return ok("".join(xml))

    def write(self):
        if "partNumber" in self.query:
            with self.state.lock:
                upload = self.state.uploads.get(self.query["uploadId"])
                if upload is None:
                    return error(404, "NoSuchUpload", "")
                upload[1][int(self.query["partNumber"])] = self.body
            return 200, {"etag": etag(self.body)}, b""
        if self.is_create():
            return self.create()
        with self.state.lock:
            self.state.objects[self.key] = (self.body, time.time())
        return 200, self.written(), b""

    def create(self):
        flaw = self.state.flaw
        with self.state.lock:
            self.state.creates += 1
            taken = self.key in self.state.objects
            if not taken and flaw != "loses-race" or flaw in ("ignores-conditions", "versioned"):
                self.state.objects[self.key] = (self.body, time.time())
                return 200, self.written(), b""
        if taken:
            status, code = self.state.dialect.refusal
            return error(status, code, "The object you specified already exists and can not be overwritten.")
        # Looked, and writes a little later: a service without a lock.
        time.sleep(0.02)
        with self.state.lock:
            self.state.objects[self.key] = (self.body, time.time())
        return 200, self.written(), b""

    def written(self):
        return {"etag": etag(self.body), "x-goog-generation": "1"}

    def post(self):
        if "delete" in self.query:
            keys = [part.partition("</Key>")[0] for part in self.body.decode().split("<Key>")[1:]]
            with self.state.lock:
                for key in keys:
                    self.state.objects.pop(unescape(key), None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return ok(f"<DeleteResult>{deleted}</DeleteResult>")
        if "uploads" in self.query:
            with self.state.lock:
                upload = f"upload{len(self.state.uploads)}"
                self.state.uploads[upload] = (self.key, {})
            named = f"<Bucket>{self.state.bucket}</Bucket><Key>{escape(self.key)}</Key><UploadId>{upload}</UploadId>"
            return ok(f"<InitiateMultipartUploadResult>{named}</InitiateMultipartUploadResult>")
        with self.state.lock:
            upload = self.state.uploads.pop(self.query["uploadId"], None)
            if upload is None:
                return error(404, "NoSuchUpload", "")
            key, parts = upload
            named = [int(part.partition("</PartNumber>")[0]) for part in self.body.decode().split("<PartNumber>")[1:]]
            if named != sorted(parts):
                return error(400, "InvalidPart", "")
            whole = b"".join(parts[number] for number in named)
            self.state.objects[key] = (whole, time.time())
        return ok(f"<CompleteMultipartUploadResult><ETag>{escape(etag(whole))}</ETag></CompleteMultipartUploadResult>")

    def delete(self):
        with self.state.lock:
            if "uploadId" in self.query:
                gone = self.state.uploads.pop(self.query["uploadId"], None)
                return (204, {}, b"") if gone else error(404, "NoSuchUpload", "")
            gone = self.state.objects.pop(self.key, None)
        if gone is None and self.state.dialect is GCS:
            return error(404, "NoSuchKey", "")
        return 204, {}, b""


def stamp(body, written):
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(written))
    return {"etag": etag(body), "last-modified": when, "x-goog-generation": "1", "accept-ranges": "bytes"}


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def ok(xml: str):
    return 200, {"content-type": "application/xml", "etag": '"e"'}, f"{XML}{xml}".encode()


def error(status: int, code: str, message: str):
    xml = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, {"content-type": "application/xml"}, f"{XML}{xml}".encode()


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
