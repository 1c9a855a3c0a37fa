"""A feed: a tabular data resource of the Data Package standard, v2, and three properties of ours.

The properties of ours are `prefix`, in place of the standard's `path`; `rejectLimit`; and `storage`.
"""

import json
from importlib.resources import files
from typing import Any, Final, Literal, Self

from pydantic import Field as Property
from pydantic import ValidationError, ValidationInfo, model_validator

from blocks.domain.errors import SensorIngestError
from blocks.domain.feed.contradictions import contradictions
from blocks.domain.feed.dialect import Dialect
from blocks.domain.feed.faults import Fault, contradictions_error, faults_of
from blocks.domain.feed.properties import Described
from blocks.domain.feed.storage import Storage, TimeToLive
from blocks.domain.feed.table_schema import Constraints, Field, Schema
from blocks.domain.limits import REJECT_LIMIT
from blocks.domain.s3_keys import DEFAULT_INCOMING

__all__ = [
    "SENSOR_READINGS",
    "Constraints",
    "Dialect",
    "Feed",
    "FeedInvalidError",
    "Field",
    "Schema",
    "Storage",
    "TimeToLive",
    "parse_feed",
]


class Feed(Described):
    """One kind of file: where its files land, what their lines look like, and how their rows are stored."""

    name: str = Property(
        max_length=100,
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        description="Name of the feed, and of its block: lower-case letters, digits and single hyphens.",
    )
    prefix: str = Property(
        default=DEFAULT_INCOMING,
        min_length=1,
        max_length=1024,
        description="What the keys of its files start with; {field} stands for a value of that field.",
    )
    homepage: str | None = Property(default=None, description="For people.")
    sources: tuple[Any, ...] = Property(default=(), description="For people.")
    licenses: tuple[Any, ...] = Property(default=(), description="For people.")
    type: Literal["table"] = Property(default="table", description="As in the standard: the resource is a table.")
    format: Literal["csv"] = Property(default="csv", description="As in the standard: files are CSV.")
    mediatype: Literal["text/csv"] = Property(default="text/csv", description="As in the standard.")
    encoding: Literal["utf-8"] = Property(default="utf-8", description="As in the standard: files are UTF-8.")
    dialect: Dialect = Dialect()
    table_schema: Schema = Property(alias="schema", description="The fields, and the key.")
    reject_limit: float = Property(
        default=REJECT_LIMIT,
        ge=0,
        le=1,
        description="Share of rows that may be rejected; above it the file is refused.",
    )
    storage: Storage = Storage()

    @model_validator(mode="after")
    def _agrees_with_itself(self, info: ValidationInfo) -> Self:
        if info.context == _CHECKED:
            return self
        if faults := contradictions(self.prefix, self.dialect, self.table_schema, self.storage):
            raise contradictions_error(faults)
        return self


class FeedInvalidError(SensorIngestError):
    """A descriptor asks for what is not supported, or contradicts itself."""

    lines = True

    def __init__(self, source: str, faults: list[Fault]) -> None:
        """List the faults; `source` is a path, or the name of a block."""
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(f"{source} is no feed that can be used:{lines}")
        self.source, self.faults = source, faults


def parse_feed(document: object, source: str) -> Feed:
    """The feed that a JSON document declares.

    Raises:
        FeedInvalidError: it declares none; the error has each fault with its place.
    """
    try:
        return Feed.model_validate(document)
    except ValidationError as error:
        raise FeedInvalidError(source, faults_of(error, Feed)) from error


_CHECKED: Final = "checked"
"""Context of validation for what a test has checked: compiling patterns imports pyarrow, which emails do not need."""

SENSOR_READINGS: Final = Feed.model_validate(
    json.loads(files(__package__ or "").joinpath("sensor-readings.json").read_bytes()), context=_CHECKED
)
"""The feed of the sensor file, which is `deployments/feeds/sensor-readings.json` too."""
