"""Identity and addresses used by all suites. The account, region and keys are made up."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
"""The repository."""

REGION = "cn-hangzhou"
ACCOUNT = "1234567890123456"
ACCESS_KEY_ID = "LTAI5tSdkSuiteRootKey01"
ACCESS_KEY_SECRET = "SdkSuiteRootSecret000000000001"
BASE_DOMAIN = f"{REGION}.oss-vectors.aliyuncs.com"


def binary() -> Path:
    """The server under test: VECTORBUCKET_BIN, else the debug build."""
    given = os.environ.get("VECTORBUCKET_BIN")
    return Path(given) if given else ROOT / "target" / "debug" / "vectorbucket"


def count(name: str, default: int) -> int:
    """A repetition count that the environment may change, such as KILL_ROUNDS."""
    return int(os.environ.get(name, default))


FLUSHING = {"VECTORBUCKET_FLUSH_MEMTABLE_BYTES_MAX": "16KiB", "VECTORBUCKET_FLUSH_AGE_MAX": "50ms"}
"""Server settings that fold writes into segments all the time, so that reads cross memtable, segments and bitmaps."""
