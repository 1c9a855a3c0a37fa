"""The attribute after whose instant DynamoDB deletes an item."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from blocks.domain.feed.descriptor import Feed
from blocks.dynamodb.attributes import attribute
from flows.rows.arrays import to_mask
from flows.rows.rules import RowRules
from flows.rows.types.datetimes import DatetimeType
from flows.rows.types.instants import DAY_SECONDS


@dataclass(frozen=True)
class TimeToLive:
    """An attribute so many days after a datetime of the item; an item without the datetime has none.

    It is a number of seconds since 1970: "Using time to live (TTL) in DynamoDB", Amazon DynamoDB developer guide.
    """

    name: str
    field: str
    field_type: DatetimeType
    days: int

    @classmethod
    def of(cls, feed: Feed, rules: RowRules) -> "TimeToLive | None":
        """The attribute that a feed declares; None if it declares none."""
        declared = feed.storage.time_to_live
        if declared is None:
            return None
        field_type = rules.by_name[declared.field].type
        if not isinstance(field_type, DatetimeType):
            raise TypeError(f"timeToLive needs a datetime, and {declared.field} is none")
        return cls(declared.attribute, declared.field, field_type, declared.days)

    def added(self, items: pa.RecordBatch) -> pa.RecordBatch:
        """The items with the attribute."""
        values = items[self.field]
        present = to_mask(values.is_valid())
        ends = np.zeros(len(items), np.int64)
        ends[present] = self.field_type.seconds(values.drop_null()) + self.days * DAY_SECONDS
        column = pa.array(ends, pa.int64(), mask=~present)
        return items.append_column(attribute(self.name, "N", pa.int64()), column)
