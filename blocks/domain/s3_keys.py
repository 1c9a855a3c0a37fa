"""Rules about S3 keys and versions: addresses, names, keys under another prefix, the order of versions."""

import re
from typing import Final
from urllib.parse import unquote_plus

DEFAULT_INCOMING: Final = "incoming/"
"""The prefix that files land under, unless the stack has another; descriptors in files are written for this one."""

REJECTS_SUFFIX = ".rejects.csv"

PUT_BACK: Final = "put-back"
"""What stands where a version would in the key of a file that is on its way back to `incoming/`."""

LONGEST_KEY_BYTES: Final = 1024
"""Source: "Naming Amazon S3 objects", Amazon S3 user guide (1,024 bytes of UTF-8)."""

_LONGEST_ENDING: Final = 32
"""Characters of an ending that a version goes before; a longer one is no ending that a program looks at."""

_ENDING = re.compile(r"(?:\.[A-Za-z]\w*){1,2}$")
"""`.csv` or `.csv.gz`, but not the `.11` of `sensors-2026.11.csv`."""


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://bucket/key` address; the key is not decoded.

    Raises:
        ValueError: the text is no such address.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ValueError(f"not an S3 address: {uri!r}; it should look like s3://bucket/incoming/sensors.csv")
    return bucket, key


def s3_uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"


def file_name(key: str) -> str:
    """The last part of a key: `sensors.csv` for `incoming/2026/sensors.csv`."""
    return key.rstrip("/").rpartition("/")[2] or key


def moved_key(key: str, *, from_prefix: str, to_prefix: str) -> str:
    """The key under another prefix. The rest of the key is kept, so two files with one name never collide."""
    return to_prefix + key.removeprefix(from_prefix)


def key_bytes(key: str) -> int:
    """The length that S3 limits to `LONGEST_KEY_BYTES`."""
    return len(key.encode("utf-8", "surrogatepass"))


def versioned_key(key: str, version: str, suffix: str = "") -> str:
    """The same key with the version before the ending: `processed/a.3f2c.csv`, for a name that is already in use.

    Where it would be too long for S3, the part before the version is cut off at its end: the version tells it apart.
    """
    ending = _ENDING.search(key)
    if ending and len(ending.group()) > _LONGEST_ENDING:
        ending = None
    stem, rest = (key[: ending.start()], ending.group()) if ending else (key, "")
    tail = f".{version}{rest}{suffix}"
    return _shortened(stem, LONGEST_KEY_BYTES - key_bytes(tail)) + tail


def _shortened(text: str, most_bytes: int) -> str:
    return (
        text
        if key_bytes(text) <= most_bytes
        else text.encode("utf-8", "surrogatepass")[:most_bytes].decode(errors="ignore")
    )


def is_file(key: str) -> bool:
    """Whether an object of that key is a file: not the placeholder of a folder, as the S3 console makes them.

    Nor one with a NUL, which S3 accepts in a key: PostgreSQL does not store it, so Prefect would lose the event.
    """
    return not key.endswith("/") and "\0" not in key


def decoded_key(key: str) -> str:
    """The decoded form of a form-encoded key, as S3 sends keys in direct notifications.

    Source: "Event message structure" in the Amazon S3 user guide ("the key name value is URL encoded").
    """
    return unquote_plus(key)
