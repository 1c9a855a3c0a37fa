"""The things that flows pass to one another, and across the Prefect API: files, counts, reports."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, PlainSerializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from blocks.domain.readings_summary import ReadingsSummary
from blocks.domain.s3_keys import file_name, parse_s3_uri, s3_uri
from blocks.domain.text import Printable, printable

Verdict = Literal["accepted", "partly", "refused"]
"""What is to be done with a file: load it, load its good rows and store its rejects, or load nothing of it."""

FileStatus = Literal["loading", "loaded", "archived", "refused", "failed", "superseded", "missing"]
"""Where a file stands.

`loading` and `loaded` (rows are in the table) are on the way; the others are the end of it. `failed` in a run's report
means that this run could not load it; in the ledger, that nobody will try again. `superseded`: a newer version came
before it was loaded. `missing`: it is not there.
"""

SETTLED: Final[frozenset[FileStatus]] = frozenset({"archived", "refused", "failed", "superseded", "missing"})
"""What the ledger says of a version that no run has to work on any more."""


def utc_text(moment: datetime) -> str:
    """The moment as text that sorts like the moments do: `2026-11-22T20:25:00.000+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


NO_VERSION: Final = "null"
"""What S3 calls the one version that it keeps while versioning is suspended.

Source: "Working with objects in a versioning-suspended bucket", Amazon S3 user guide.
"""

UtcMoment = Annotated[datetime, PlainSerializer(utc_text, when_used="json")]


WITHOUT_NUL: Final = r"^[^\x00]+$"
"""S3 takes a NUL in a key. PostgreSQL stores none, so an event or a run that carried one would be lost."""


class SensorFile(BaseModel):
    """One object in the bucket. Wherever a `SensorFile` is asked for, its `s3://bucket/key` will do."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket: Annotated[str, Field(min_length=3, description="Bucket that the file is in.")]
    key: Annotated[
        str, Field(min_length=1, max_length=1024, pattern=WITHOUT_NUL, description="Key of the object, as S3 lists it.")
    ]
    version_id: Annotated[str | None, Field(description="Version that was announced; none where it is not known.")] = (
        None
    )
    etag: Annotated[str | None, Field(description="ETag of that version, without quotes.")] = None
    size: Annotated[int | None, Field(ge=0, description="Size in bytes.")] = None
    sequencer: Annotated[str | None, Field(description="S3's order of events about one key.")] = None

    @model_validator(mode="before")
    @classmethod
    def _from_uri(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic hands over what the caller wrote
        if not isinstance(value, str):
            return value
        bucket, key = parse_s3_uri(value)
        return {"bucket": bucket, "key": key}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema that Prefect holds parameters against before a run starts: an object, or a text like `s3://…`."""
        uri = {"type": "string", "pattern": "^s3://[^/]+/.+", "title": "s3://bucket/key"}
        return {"title": "SensorFile", "anyOf": [uri, handler.resolve_ref_schema(handler(schema))]}

    @property
    def uri(self) -> str:
        return s3_uri(self.bucket, self.key)

    @property
    def name(self) -> str:
        return file_name(self.key)

    @property
    def version(self) -> str | None:
        """The version id, else the ETag: what tells two contents of one key apart.

        Where versioning is suspended, all objects have the version id `null`, which tells nothing.
        """
        return self.etag if self.version_id in (None, "", NO_VERSION) else self.version_id

    def is_version_of(self, other: "SensorFile") -> bool:
        """Whether both can be the same version, as far as the other's is known."""
        return other.version in (None, self.version, self.etag)


class StoredFile(SensorFile):
    """One object as S3 has it right now."""

    landed_at: Annotated[UtcMoment, Field(description="When S3 got it; S3 knows it to the second.")]


class Reject(BaseModel):
    """One refused row."""

    model_config = ConfigDict(frozen=True)

    line: Annotated[int, Field(ge=1, description="Physical line number in the file, the first line being 1.")]
    reason: Annotated[str, Field(description="One of `flows.rows.REASONS`.")]
    text: Annotated[Printable, Field(description="The line, shortened where it is long, on one line of its own.")]


class RowCounts(BaseModel):
    """What became of every line of a file. It cannot be made with counts that do not add up.

    `lines = header + blank + rows` and `rows = accepted + replaced + rejected`.
    """

    model_config = ConfigDict(frozen=True)

    lines: Annotated[int, Field(ge=0, description="Physical lines in the file.")] = 0
    header: Annotated[int, Field(ge=0, le=1, description="1 if the first line names the columns.")] = 0
    blank: Annotated[int, Field(ge=0, description="Lines with nothing but spaces.")] = 0
    rows: Annotated[int, Field(ge=0, description="All other lines.")] = 0
    accepted: Annotated[int, Field(ge=0, description="Rows to be stored, each with a key of its own.")] = 0
    replaced: Annotated[int, Field(ge=0, description="Good rows that a later row with the same key replaced.")] = 0
    rejected: Annotated[int, Field(ge=0, description="Rows that break a rule.")] = 0

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.lines != self.header + self.blank + self.rows:
            raise ValueError(f"lines do not add up: {self.lines} != {self.header} + {self.blank} + {self.rows}")
        if self.rows != self.accepted + self.replaced + self.rejected:
            raise ValueError(f"rows do not add up: {self.rows} != {self.accepted} + {self.replaced} + {self.rejected}")
        return self


class FileReport(RowCounts):
    """What became of one file: counts, reasons, and where its content is now. Small enough to be a flow parameter."""

    bucket: str
    key: str
    version: str | None = None
    status: FileStatus
    reasons: dict[str, int] = Field(default_factory=dict)
    first_rejects: list[Reject] = Field(default_factory=list)
    summary: Annotated[ReadingsSummary | None, Field(description="What its readings look like, for people.")] = None
    archived_to: str | None = None
    rejects_at: str | None = None
    problem: Printable | None = None
    already_done: Annotated[
        bool, Field(description="Whether an earlier run dealt with it, and this one left it so.")
    ] = False
    flow_run_id: str | None = None

    @property
    def uri(self) -> str:
        return s3_uri(self.bucket, self.key)

    @property
    def name(self) -> str:
        return file_name(self.key)

    @property
    def loaded(self) -> int:
        """Rows that this file has brought into the table: none of a refused file, however many were good."""
        return self.accepted if self.status in ("loaded", "archived") else 0


class LedgerEntry(FileReport):
    """What the ledger remembers about one version of a file: its report, and when each step happened (UTC)."""

    version: str
    etag: str | None = None
    sequencer: str | None = None
    landed_at: UtcMoment | None = None
    attempts: Annotated[int, Field(ge=0, description="Loads that were begun; those that AWS failed do not count.")] = 1
    tries: Annotated[int, Field(ge=0, description="Loads that were begun, whatever they failed of.")] = 1
    claimed_at: UtcMoment
    lease_until: UtcMoment | None = None
    finished_at: UtcMoment | None = None
    notified_at: UtcMoment | None = None
    notified_by: Annotated[str | None, Field(description="The flow run that told people.")] = None

    def is_leased(self, now: datetime) -> bool:
        """Whether a run holds a lease on it."""
        return self.status not in SETTLED and self.lease_until is not None and self.lease_until > now

    @property
    def is_kept(self) -> bool:
        """Whether the file was loaded and archived, be it that it is being loaded once more from there."""
        return self.archived_to is not None and self.status in ("archived", "loading", "loaded")


class Notification(BaseModel):
    """The run that emails about the files of an ingest run."""

    flow_run_id: str
    flow_run_name: str
    state: Annotated[str, Field(description="State of that run when the ingest run ended, such as Paused.")]
    due_at: Annotated[UtcMoment | None, Field(description="When the wait is over, and the run goes on by itself.")]


class IngestReport(BaseModel):
    """What one ingest run did."""

    files: list[FileReport]
    notification: Annotated[
        Notification | None, Field(description="None where there was nothing to tell: all had been dealt with before.")
    ]


class SweepReport(BaseModel):
    """What one sweep took up again."""

    crashed: Annotated[list[str], Field(description="Names of the runs whose process was gone.")] = []
    announced: list[SensorFile] = []
    resumed: Annotated[list[str], Field(description="Names of the runs whose wait was long over.")] = []
    notification: Annotated[
        Notification | None, Field(description="The email about files that nobody was told of; None if there are none.")
    ] = None
    left_to: Annotated[
        str | None, Field(description="Name of the sweep that was at work already, to which this one left all that.")
    ] = None

    def __str__(self) -> str:
        """The same for people, a line for each."""
        if self.left_to:
            return f"left to another sweep, {printable(self.left_to)}, which is at work"
        lines = [f"had died: {printable(name)}" for name in self.crashed]
        lines += [f"announced again: {file.uri}" for file in self.announced]
        lines += [f"resumed: {printable(name)}" for name in self.resumed]
        lines += [f"told after all: {printable(self.notification.flow_run_name)}"] if self.notification else []
        return "\n".join(lines) or "nothing was left behind"
