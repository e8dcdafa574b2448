"""Reads access logs of buckets by their documented form alone; shares no code with the server.

    python3 tests/logging/parse.py FILE...      checks files, prints one JSON object per line
"""

import json
import re
import sys
from datetime import datetime, timezone

NAMES = """RemoteIP Reserved1 Reserved2 Time RequestURL HTTPStatus SentBytes RequestTime Referer UserAgent HostName
RequestID LoggingFlag RequesterAliyunID Operation BucketName ObjectName ObjectSize ServerCostTime ErrorCode RequestLength
UserID DeltaDataSize SyncRequest StorageClass TargetStorageClass TransmissionAccelerationAccessPoint AccessKeyID
BucketARN""".split()
QUOTED = set(
    "RequestURL Referer UserAgent HostName RequestID LoggingFlag RequesterAliyunID Operation BucketName ObjectName"
    " ErrorCode UserID SyncRequest StorageClass TargetStorageClass TransmissionAccelerationAccessPoint AccessKeyID"
    " BucketARN".split()
)
NUMBERS = set("HTTPStatus SentBytes RequestTime ServerCostTime RequestLength".split())
FIELD = re.compile(r'"([^"]*)"|\[([^\]]*)\]|([^ "\[\]]+)')
OBJECT = re.compile(r"(?P<bucket>[a-z0-9-]{3,32})(?P<hour>\d{4}-\d\d-\d\d-\d\d)-00-00-(?P<unique>[0-9A-F]{24})")


def fields(line):
    """The 29 fields of one line by name; raises ValueError for anything else."""
    found, at = {}, 0
    for number, name in enumerate(NAMES):
        if number and line[at : at + 1] != " ":
            raise ValueError(f"no single space before {name}: {line!r}")
        match = FIELD.match(line, at + bool(number))
        if match is None:
            raise ValueError(f"no {name}: {line!r}")
        at = match.end()
        kind = 1 if name in QUOTED else 2 if name == "Time" else 3
        if match.group(kind) is None:
            raise ValueError(f"{name} has the wrong delimiters: {line!r}")
        found[name] = match.group(kind)
    if at != len(line):
        raise ValueError(f"more than {len(NAMES)} fields: {line!r}")
    check(found, line)
    return found


def check(found, line):
    if not all(" " <= c <= "~" for c in line):
        raise ValueError(f"not plain text: {line!r}")
    for name in NUMBERS:
        if not found[name].isdigit():
            raise ValueError(f"{name} is no number: {line!r}")
    if len(found["RequestURL"].split(" ")) != 3 or not re.fullmatch(r"[0-9A-F]{24}", found["RequestID"]):
        raise ValueError(f"bad RequestURL or RequestID: {line!r}")
    time_of(found)


def time_of(found):
    return datetime.strptime(found["Time"], "%d/%b/%Y:%H:%M:%S %z")


def log_object(name, text, prefix):
    """The lines of one object, whose name must fit the rule and its lines."""
    match = OBJECT.fullmatch(name.removeprefix(prefix))
    if not name.startswith(prefix) or match is None:
        raise ValueError(f"not the name of a log: {name}")
    if not text.endswith("\n"):
        raise ValueError(f"{name} ends within a line")
    lines = [fields(line) for line in text[:-1].split("\n")]
    hour = datetime.strptime(match["hour"], "%Y-%m-%d-%H").replace(tzinfo=timezone.utc)
    for line in lines:
        if line["BucketName"] != match["bucket"] or time_of(line).replace(minute=0, second=0) != hour:
            raise ValueError(f"{name} holds a line of another bucket or hour: {line}")
    return lines


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, encoding="ascii", newline="\n") as file:
            for line in file.read().split("\n")[:-1]:
                print(json.dumps(fields(line)))
