"""Validation without writing: a file of this machine or an S3 object, with progress on standard error."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final, cast

from rich.console import Console
from rich.progress import DownloadColumn

from blocks.domain.errors import ObjectMissingError
from blocks.domain.feed.descriptor import SENSOR_READINGS, Field
from blocks.domain.feed.selection import ChosenFeed
from blocks.domain.models import Verdict
from blocks.domain.s3_keys import parse_s3_uri
from blocks.domain.text import printable
from blocks.dynamodb.attributes import items_of
from flows.report.progress_bar import progress_bars
from flows.report.wording import row_counts_text
from flows.rows import ValidatedFile, ValidationSettings, validate_file

EXIT_CODES: Final[dict[Verdict, int]] = {"accepted": 0, "partly": 3, "refused": 4}
_WORDS: Final[dict[Verdict, str]] = {"accepted": "accepted", "partly": "accepted in part", "refused": "refused"}

_STORE_ALL: Final[dict[str, Any]] = {"max_stored_rejects": sys.maxsize, "max_reject_bytes": sys.maxsize}
ITEMS_SHOWN: Final = 3

LARGE_BYTES: Final = 16 * 2**20
"""Files from this size on show progress; smaller ones take well under a second."""


@dataclass(frozen=True)
class CheckedFile:
    """A file, the result of validating it, and its first items as DynamoDB JSON."""

    file: str
    validated: ValidatedFile
    first_accepted: list[dict[str, dict[str, Any]]]

    @property
    def feed(self) -> str:
        return self.validated.settings.feed.name


def checked_file(file: str, chosen: ChosenFeed, rejects: Path | None = None) -> CheckedFile:
    """The result of validating the file at a path or an `s3://` address.

    Args:
        file: a path, or an address like `s3://bucket/key`.
        chosen: the feed, and the fields that come from the key.
        rejects: where to write the CSV of all rejected rows, if anywhere; without rejects it has only a header.

    Raises:
        ObjectMissingError: the object does not exist.
        OSError: the file cannot be read, or the rejects cannot be written.
        ValueError: the address is invalid, or the rejects would be written over the file.
    """
    if rejects and rejects.exists() and Path(file).exists() and rejects.samefile(file):
        raise ValueError(f"the rejects would be written over {file}; name another file for them")
    settings = ValidationSettings(chosen.feed, chosen.key_values, **(_STORE_ALL if rejects else {}))
    with TemporaryDirectory(prefix="sensor-ingest-") as workspace, _opened(file) as (source, size):
        with _progress(file, size) as advance:
            validated = validate_file(source, Path(workspace), settings, progress=advance)
        if rejects and validated.rejects_path:
            shutil.copyfile(validated.rejects_path, rejects)
        elif rejects:
            rejects.write_text('"line","reason","text"\n', encoding="utf-8")
        items = (item for batch in validated.items() for item in items_of(batch.slice(0, ITEMS_SHOWN)))
        return CheckedFile(file, validated, list(islice(items, ITEMS_SHOWN)))


def as_document(checked: CheckedFile) -> dict[str, Any]:
    """What `check --json` prints. Only refused files have `refusal`."""
    validated = checked.validated
    document = {"feed": checked.feed, "file": checked.file, **validated.counts.model_dump()}
    document |= {
        "verdict": validated.verdict,
        "reasons": validated.reasons,
        "first_rejects": [reject.model_dump() for reject in validated.first_rejects],
        "first_accepted": checked.first_accepted,
    }
    return document | ({"refusal": validated.refusal} if validated.refusal else {})


def as_text(checked: CheckedFile) -> str:
    """What `check` prints."""
    validated = checked.validated
    counts = validated.counts
    why = f": {validated.refusal}" if validated.refusal else ""
    lines = [
        f"{printable(checked.file)}: {_WORDS[validated.verdict]}{why}",
        f"  {counts.lines:,} lines: {counts.header} header, {counts.blank:,} blank, {counts.rows:,} rows",
        f"  {row_counts_text(counts.rows, f'{counts.accepted:,} valid', counts.replaced, counts.rejected)}",
    ]
    formats = {each.name: _format_text(each) for each in validated.settings.feed.table_schema.fields_}
    lines += [
        f"  {count:,} rejected for {reason}{formats.get(reason, '')}"
        for reason, count in sorted(validated.reasons.items())
    ]
    lines += [f"    line {reject.line:,}, {reject.reason}: {reject.text}" for reject in validated.first_rejects]
    if (more := counts.rejected - len(validated.first_rejects)) > 0:
        lines.append(f"    and {more:,} more")
    if checked.feed != SENSOR_READINGS.name:
        lines += [
            f"  feed {checked.feed}; the first items:",
            *(f"    {printable(_item_text(each))}" for each in checked.first_accepted),
        ]
    return "\n".join(lines)


def _format_text(field: Field) -> str:
    """The format that a date or datetime is expected in; empty for a field of another type."""
    if field.type not in ("date", "datetime"):
        return ""
    known = {"default": "as 2026-01-31" if field.type == "date" else "as 2026-01-31T23:59:59Z"}
    known |= {"epoch": "seconds since 1970", "epoch-milliseconds": "milliseconds since 1970"}
    return f" (expected: {known.get(field.format, field.format)})"


def _item_text(item: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name}={value} ({kind})" for name, typed in item.items() for kind, value in typed.items())


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int]]:
    """The stream of the file, and its size in bytes."""
    if not file.startswith("s3://"):
        with Path(file).open("rb") as source:
            yield source, Path(file).stat().st_size
        return
    answer = _object(file)
    with closing(answer["Body"]) as body:
        yield cast("BinaryIO", body), answer["ContentLength"]


def _object(uri: str) -> Any:  # noqa: ANN401 - boto3's answer, typed only where its stubs are installed
    import boto3
    from botocore.exceptions import ClientError, ParamValidationError

    bucket, key = parse_s3_uri(uri)
    try:
        return boto3.client("s3").get_object(Bucket=bucket, Key=key)
    except ParamValidationError as error:
        raise ValueError(f"{uri} is no address of an object: {error}") from error
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.NOT_FOUND:
            raise
        raise ObjectMissingError(uri, 0) from error


@contextmanager
def _progress(file: str, size: int) -> Iterator[Callable[[int], None] | None]:
    """The function to call with the number of bytes read: a bar on a terminal, a line for each tenth elsewhere."""
    if size < LARGE_BYTES:
        yield None
    elif sys.stderr.isatty():
        with progress_bars(Console(stderr=True), DownloadColumn()) as bar:
            task = bar.add_task(f"checking {printable(file)}", total=size)
            yield lambda read: bar.update(task, completed=read)
    else:
        yield _tenths(file, size)


def _tenths(file: str, size: int) -> Callable[[int], None]:
    reported = 0

    def report(read: int) -> None:
        nonlocal reported
        if (tenths := 10 * read // size) > reported:
            reported = tenths
            print(f"checking {printable(file)}: {10 * tenths} %", file=sys.stderr)

    return report
