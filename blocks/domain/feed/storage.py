"""How the items of a feed are stored."""

from typing import Annotated, Literal

from pydantic import Field as Property

from blocks.domain.feed.properties import Descriptor

# Source: "Naming rules and data types", Amazon DynamoDB developer guide.
TableName = Annotated[str, Property(min_length=3, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")]


class TimeToLive(Descriptor):
    """When DynamoDB deletes an item: so many days after a datetime of it."""

    field: str = Property(description="The datetime that the days are counted from.")
    days: int = Property(ge=1, le=36_500, description="Days after which the item is deleted.")
    attribute: str = Property(
        default="expires_at",
        min_length=1,
        max_length=255,
        description="The attribute with the second of deletion: the one that time to live is enabled for on the table.",
    )


class Storage(Descriptor):
    """Where and how the items of a feed are stored."""

    table: TableName | None = Property(
        default=None, description="Name of the DynamoDB table; none: the readings table of the stack."
    )
    datetime: Literal["epoch-seconds", "epoch-milliseconds", "iso"] = Property(
        default="epoch-seconds",
        description="Datetimes in the table: a number of seconds or milliseconds since 1970, or text in UTC.",
    )
    time_to_live: TimeToLive | None = Property(default=None, description="When DynamoDB deletes an item, if it does.")
