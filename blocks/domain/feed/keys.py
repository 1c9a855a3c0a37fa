"""The key of the table that a feed is stored in."""

from typing import Literal, NamedTuple

from blocks.domain.feed.descriptor import Feed, Field, Storage

AttributeType = Literal["S", "N", "BOOL"]


class KeyAttribute(NamedTuple):
    """One attribute of a table's key."""

    name: str
    type: AttributeType


def attribute_type(field: Field, storage: Storage) -> AttributeType:
    """The type that DynamoDB stores the values of a field as."""
    match field.type:
        case "integer" | "number":
            return "N"
        case "boolean":
            return "BOOL"
        case "datetime":
            return "S" if storage.datetime == "iso" else "N"
        case "string" | "date":
            return "S"


def key_of(feed: Feed) -> tuple[KeyAttribute, ...]:
    """The partition key of the feed's table, and its sort key if it has one."""
    by_name = {field.name: field for field in feed.table_schema.fields_}
    names = feed.table_schema.primary_key
    return tuple(KeyAttribute(name, attribute_type(by_name[name], feed.storage)) for name in names)


def key_text(key: tuple[KeyAttribute, ...]) -> str:
    """The key for people: `station (S), at (N)`."""
    return ", ".join(f"{name} ({kind})" for name, kind in key)
