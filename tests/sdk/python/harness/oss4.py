"""OSS4-HMAC-SHA256 for vector buckets, written from the protocol description and not from any SDK.

CanonicalRequest = method LF uri LF query LF headers LF additional LF payload
uri              = /acs%3Aossvector%3A{region}%3A{account}%3A{bucket}/   or, without a bucket, ...{region}%3A%3A/
StringToSign     = OSS4-HMAC-SHA256 LF timestamp LF scope LF hex(sha256(CanonicalRequest))
"""

import hashlib
import hmac
import time
import urllib.parse
from dataclasses import dataclass

from . import settings

UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Key:
    """A credential and what it is scoped to. The tests alter single members to provoke errors."""

    access_key_id: str = settings.ACCESS_KEY_ID
    secret: str = settings.ACCESS_KEY_SECRET
    region: str = settings.REGION
    account: str = settings.ACCOUNT
    product: str = "oss"
    terminator: str = "aliyun_v4_request"


def timestamp(when: float | None = None) -> str:
    """YYYYMMDDTHHMMSSZ of a Unix time, now by default."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(when))


def scope(key: Key, date: str) -> str:
    return f"{date}/{key.region}/{key.product}/{key.terminator}"


def canonical_uri(key: Key, bucket: str | None) -> str:
    owner = f"{key.account}:{bucket}" if bucket else ":"
    return urllib.parse.quote(f"/acs:ossvector:{key.region}:{owner}/", safe="/~")


def canonical_query(query: str) -> str:
    pairs = [part.partition("=") for part in query.split("&") if part]
    kept = sorted((name, value) for name, _, value in pairs if name != "x-oss-signature")
    return "&".join(f"{name}={value}" if value else name for name, value in kept)


def canonical_request(key, method, bucket, query, headers, additional) -> str:
    """`headers`: list of (name, value) as sent; `additional`: lower-case names signed beyond the fixed set."""
    signed = {}
    for name, value in headers:
        low = name.lower()
        if low.startswith("x-oss-") or low in ("content-type", "content-md5") or low in additional:
            signed[low] = f"{signed[low]},{value.strip()}" if low in signed else value.strip()
    payload = next((v for n, v in headers if n.lower() == "x-oss-content-sha256"), UNSIGNED)
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    return "\n".join(
        [method, canonical_uri(key, bucket), canonical_query(query), lines, ";".join(sorted(additional)), payload]
    )


def signature(key: Key, stamp: str, date: str, request: str) -> str:
    """Lower-case hex over the string to sign."""
    digest = hashlib.sha256(request.encode("utf-8", "surrogateescape")).hexdigest()
    to_sign = "\n".join(["OSS4-HMAC-SHA256", stamp, scope(key, date), digest])
    derived = b"aliyun_v4" + key.secret.encode()
    for part in (date, key.region, key.product, key.terminator):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    return hmac.new(derived, to_sign.encode(), hashlib.sha256).hexdigest()


def authorization(key, method, bucket, query, headers, stamp, additional=(), date=None) -> str:
    """The Authorization header for a request whose other headers are final. `date` overrides the scope's day."""
    date = date or stamp[:8]
    canonical = canonical_request(key, method, bucket, query, headers, additional)
    listed = f",AdditionalHeaders={';'.join(sorted(additional))}" if additional else ""
    return (
        f"OSS4-HMAC-SHA256 Credential={key.access_key_id}/{scope(key, date)}{listed}"
        f",Signature={signature(key, stamp, date, canonical)}"
    )


def presigned_query(
    key, method, bucket, query, headers=(), stamp=None, expires="600", additional=(), token=None, drop=(), day=None
) -> str:
    """`query` plus the signature parameters. For the error cases: `drop` leaves parameters out, `day` is another scope day."""
    stamp = stamp or timestamp()
    day = day or stamp[:8]
    parameters = {
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-date": stamp,
        "x-oss-expires": expires,
        "x-oss-credential": f"{key.access_key_id}/{scope(key, day)}",
    }
    if additional:
        parameters["x-oss-additional-headers"] = ";".join(sorted(additional))
    if token:
        parameters["x-oss-security-token"] = token
    encoded = [f"{n}={urllib.parse.quote(v, safe='~')}" for n, v in parameters.items() if n not in drop]
    whole = "&".join([query, *encoded] if query else encoded)
    sign = signature(key, stamp, day, canonical_request(key, method, bucket, whole, headers, additional))
    return whole if "x-oss-signature" in drop else f"{whole}&x-oss-signature={sign}"
