"""A feed: a tabular data resource of the Data Package standard, v2, and three properties of ours.

The properties of ours are `prefix`, in place of the standard's `path`; `rejectLimit`; and `storage`.
"""

import json
from importlib.resources import files
from typing import Any, Final, Literal

from pydantic import Field as Property

from blocks.domain.feed.dialect import Dialect
from blocks.domain.feed.properties import Described
from blocks.domain.feed.storage import Storage, TimeToLive
from blocks.domain.feed.table_schema import Constraints, Field, Schema
from blocks.domain.limits import REJECT_LIMIT

__all__ = ["SENSOR_READINGS", "Constraints", "Dialect", "Feed", "Field", "Schema", "Storage", "TimeToLive"]


class Feed(Described):
    """One kind of file: where its files land, what their lines look like, and how their rows are stored."""

    name: str = Property(
        max_length=100,
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        description="Name of the feed, and of its block: lower-case letters, digits and single hyphens.",
    )
    prefix: str = Property(
        default="incoming/",
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


SENSOR_READINGS: Final = Feed.model_validate(
    json.loads(files(__package__ or "").joinpath("sensor-readings.json").read_bytes())
)
"""The feed of the sensor file, which is `deployments/feeds/sensor-readings.json` too."""
