"""Files, counts and reports: what flows pass to one another, to the ledger, and across the Prefect API."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, PlainSerializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from blocks.domain.readings_summary import ReadingsSummary
from blocks.domain.s3_keys import file_name, parse_s3_uri, s3_uri
from blocks.domain.text import Printable, printable

Verdict = Literal["accepted", "partly", "refused"]
"""What happens to a file: all rows are loaded, its good rows are loaded and its rejects stored, or no row is."""

FileStatus = Literal["waiting", "loading", "archived", "refused", "failed", "superseded", "missing"]
"""The status of one version of a file.

Non-terminal: `waiting` (another version is being loaded, or a load failed and is tried again), `loading` (a run has
claimed it). Terminal: `archived` (its rows are in the table, and it has moved), `refused`, `failed` (in the ledger: it
is not tried again; in a run's report: this run could not load it), `superseded` (a newer version replaced it before it
was loaded), `missing` (the object does not exist).
"""

SETTLED: Final[frozenset[FileStatus]] = frozenset({"archived", "refused", "failed", "superseded", "missing"})
"""The terminal statuses: no run works on such a version any more."""


def utc_text(moment: datetime) -> str:
    """The moment in UTC as text that sorts in time order: `2026-11-22T20:25:00.000+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


NO_VERSION: Final = "null"
"""The version id of the one version that S3 keeps while versioning is suspended.

Source: "Working with objects in a versioning-suspended bucket", Amazon S3 user guide.
"""

UtcMoment = Annotated[AwareDatetime, PlainSerializer(utc_text, when_used="json")]


WITHOUT_NUL: Final = r"^[^\x00]+$"
"""S3 accepts a NUL in a key. PostgreSQL does not store it, so Prefect would lose the event or the run."""


class KeyedModel(BaseModel):
    """Base of what is about one key of a bucket."""

    bucket: str
    key: str

    @property
    def uri(self) -> str:
        """The address, with the key as S3 has it: it finds the object. What shows it makes it printable."""
        return s3_uri(self.bucket, self.key)

    @property
    def name(self) -> str:
        """The last part of the key, as it is shown in names of runs, titles and logs."""
        return printable(file_name(self.key))


class SensorFile(KeyedModel):
    """One object in the bucket. The text `s3://bucket/key` validates as a `SensorFile` too."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket: Annotated[str, Field(min_length=3, description="Bucket that the file is in.")]
    key: Annotated[
        str, Field(min_length=1, max_length=1024, pattern=WITHOUT_NUL, description="Key of the object, as S3 lists it.")
    ]
    version_id: Annotated[str | None, Field(description="Version id that was announced; none if it is not known.")] = (
        None
    )
    etag: Annotated[str | None, Field(description="ETag of that version, without quotes.")] = None
    size: Annotated[int | None, Field(ge=0, description="Size in bytes.")] = None
    sequencer: Annotated[str | None, Field(description="S3's sequencer: it orders the events of one key.")] = None

    @model_validator(mode="before")
    @classmethod
    def _from_uri(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic hands over what the caller wrote
        if not isinstance(value, str):
            return value
        bucket, key = parse_s3_uri(value)
        return {"bucket": bucket, "key": key}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema that Prefect checks parameters with before a run starts: an object, or text like `s3://…`."""
        uri = {"type": "string", "pattern": "^s3://[^/]+/.+", "title": "s3://bucket/key"}
        return {"title": "SensorFile", "anyOf": [uri, handler.resolve_ref_schema(handler(schema))]}

    @property
    def version(self) -> str | None:
        """The version id, else the ETag: it differs between two contents of one key.

        While versioning is suspended every object has the version id `null`, so the ETag is used.
        """
        return self.etag if self.version_id in (None, "", NO_VERSION) else self.version_id

    def without_version_id(self) -> Self:
        """The current object of the key: to read one by its version id takes a permission that runs lack elsewhere."""
        return self.model_copy(update={"version_id": None})

    def is_version_of(self, other: "SensorFile") -> bool:
        """Whether both are the same version, or the version of the other is not known."""
        return other.version in (None, self.version, self.etag)


class StoredFile(SensorFile):
    """One object as S3 describes it now."""

    landed_at: Annotated[UtcMoment, Field(description="When S3 received it, to the second.")]


NOT_SHOWN: Final = "(not shown)"
"""Stands for the text of a row where `show_rows` of the readings table's block is off."""


class Reject(BaseModel):
    """One rejected row."""

    model_config = ConfigDict(frozen=True)

    line: Annotated[int, Field(ge=1, description="Physical line number in the file, the first line being 1.")]
    reason: Annotated[str, Field(description="The rule that it breaks, as in docs/reference/rows.md.")]
    text: Annotated[Printable, Field(description="The line, shortened where it is long, on one line of its own.")]


class RowCounts(BaseModel):
    """What became of every line of a file. Counts that do not add up do not validate.

    `lines = header + blank + rows` and `rows = accepted + replaced + rejected`.
    """

    model_config = ConfigDict(frozen=True)

    lines: Annotated[int, Field(ge=0, description="Physical lines in the file.")] = 0
    header: Annotated[int, Field(ge=0, le=1, description="1 if the first line names the columns.")] = 0
    blank: Annotated[int, Field(ge=0, description="Lines with nothing but spaces and tabs.")] = 0
    rows: Annotated[int, Field(ge=0, description="All other lines.")] = 0
    accepted: Annotated[int, Field(ge=0, description="Rows to be stored, each with its own key.")] = 0
    replaced: Annotated[int, Field(ge=0, description="Good rows that a later row with the same key replaced.")] = 0
    rejected: Annotated[int, Field(ge=0, description="Rows that break a rule.")] = 0

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.lines != self.header + self.blank + self.rows:
            raise ValueError(f"lines do not add up: {self.lines} != {self.header} + {self.blank} + {self.rows}")
        if self.rows != self.accepted + self.replaced + self.rejected:
            raise ValueError(f"rows do not add up: {self.rows} != {self.accepted} + {self.replaced} + {self.rejected}")
        return self


class FileReport(RowCounts, KeyedModel):
    """What became of one file: counts, reasons, and where its content is now. It fits into a flow parameter."""

    version: str | None = None
    status: FileStatus
    reasons: dict[str, int] = Field(default_factory=dict)
    first_rejects: list[Reject] = Field(default_factory=list)
    summary: Annotated[ReadingsSummary | None, Field(description="Sensors, time range and plot of its readings.")] = (
        None
    )
    archived_to: str | None = None
    rejects_at: str | None = None
    rejects_stored: Annotated[int | None, Field(description="Rejected rows at `rejects_at`; None (0.1): all.")] = None
    problem: Printable | None = None
    already_done: Annotated[
        bool, Field(description="Whether this run has no news of it: it was loaded before, or another run holds it.")
    ] = False
    flow_run_id: str | None = None

    @property
    def loaded(self) -> int:
        """Rows of this file in the table: none of a refused file, however many of its rows are good."""
        return self.accepted if self.status == "archived" else 0


class LedgerEntry(FileReport):
    """The ledger's record of one version of a file: its report, and when each step happened (UTC)."""

    version: str
    etag: str | None = None
    landed_at: UtcMoment | None = None
    epoch: Annotated[
        int, Field(ge=0, description="Number of the claim that loaded it: the order in which versions were written.")
    ] = 0
    attempts: Annotated[int, Field(ge=0, description="Loads that were started, without those that AWS refused.")] = 1
    tries: Annotated[int, Field(ge=0, description="Loads that were started.")] = 1
    claimed_at: UtcMoment
    next_try_at: Annotated[UtcMoment | None, Field(description="When a file that waits is tried again.")] = None
    finished_at: UtcMoment | None = None
    email_id: Annotated[str | None, Field(description="The email that is about this version.")] = None
    notified_at: UtcMoment | None = None
    notified_by: Annotated[str | None, Field(description="The flow run that sent the email.")] = None

    @property
    def is_kept(self) -> bool:
        """Whether the file was loaded and archived, also if it is being loaded again from there."""
        return self.archived_to is not None and self.status in ("archived", "loading", "waiting")

    @property
    def stays_in_incoming(self) -> bool:
        """Whether it failed for good where it landed, as S3 cannot move it: only a person has this version loaded."""
        return self.status == "failed" and self.archived_to is None


class Notification(BaseModel):
    """The run that emails about the files of an ingest run."""

    flow_run_id: str
    flow_run_name: str
    state: Annotated[str, Field(description="State of that run when the ingest run ended, such as Paused.")]
    due_at: Annotated[UtcMoment | None, Field(description="When the wait ends and the run is resumed.")]


class IngestReport(BaseModel):
    """What one ingest run did."""

    files: list[FileReport]
    notification: Annotated[
        Notification | None, Field(description="None if there is nothing to email: all files had been loaded before.")
    ]


class SweepReport(BaseModel):
    """What one sweep took up."""

    crashed: Annotated[list[str], Field(description="Names of the runs without a sign of life, which were ended.")] = []
    cancelled: Annotated[
        list[str], Field(description="Names of the scheduled runs that no worker would have taken up.")
    ] = []
    announced: list[SensorFile] = []
    resumed: Annotated[
        list[str], Field(description="Names of the paused runs that were resumed, as their wait was over.")
    ] = []
    notifications: Annotated[list[Notification], Field(description="The runs that send overdue emails.")] = []

    def __str__(self) -> str:
        """One line for each thing that was taken up."""
        lines = [f"set to Crashed: {printable(name)}" for name in self.crashed]
        lines += [f"cancelled: {printable(name)}" for name in self.cancelled]
        lines += [f"announced again: {printable(file.uri)}" for file in self.announced]
        lines += [f"resumed: {printable(name)}" for name in self.resumed]
        lines += [f"email scheduled: {printable(each.flow_run_name)}" for each in self.notifications]
        return "\n".join(lines) or "nothing to take up"
