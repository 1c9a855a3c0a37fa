"""Which key a file under `failed/` or `refused/` landed under: what the ledger knows about it. No S3."""

from collections.abc import Callable, Iterator, Sequence

from blocks.domain.models import LedgerEntry
from blocks.domain.s3_keys import PUT_BACK, REJECTS_SUFFIX, moved_key, s3_uri, versioned_key

EntriesOf = Callable[[str, str], Sequence[LedgerEntry]]
"""The entries of all versions of the file of that bucket and key."""


def original_key(bucket: str, key: str, prefix: str, incoming_prefix: str, entries_of: EntriesOf) -> str | None:
    """The key under `incoming/` that the object under that prefix landed under; None for the rejects of a file.

    A version in the name is taken out only if the ledger has an entry of that version which was moved to this address:
    a file may have been uploaded with such a name. An object that no entry is about keeps its name.
    """
    landed = moved_key(key, from_prefix=prefix, to_prefix=incoming_prefix)
    uri = s3_uri(bucket, key)
    if any(entry.archived_to == uri for entry in entries_of(bucket, landed)):
        return landed
    for candidate, version in _without_version(landed):
        if version == PUT_BACK:
            return candidate
        if any(entry.archived_to == uri and entry.version == version for entry in entries_of(bucket, candidate)):
            return candidate
    return None if key.endswith(REJECTS_SUFFIX) else landed


def _without_version(key: str) -> Iterator[tuple[str, str]]:
    """Each key and version that `versioned_key` makes this key of."""
    dots = [at for at, character in enumerate(key) if character == "." and at > key.rfind("/")]
    for index, start in enumerate(dots):
        for end in [*dots[index + 1 :], len(key)]:
            candidate, version = key[:start] + key[end:], key[start + 1 : end]
            if version and versioned_key(candidate, version) == key:
                yield candidate, version
