"""Rules that more than one property of a descriptor is about."""

from collections import Counter
from collections.abc import Iterator

from blocks.domain.feed.dialect import Dialect
from blocks.domain.feed.faults import Fault
from blocks.domain.feed.field_rules import faults_of_field
from blocks.domain.feed.prefix import Prefix
from blocks.domain.feed.storage import Storage
from blocks.domain.feed.table_schema import Field, Schema

# Source: "Naming rules and data types", Amazon DynamoDB developer guide: the name of a key attribute.
_KEY_NAME_BYTES = 255
_MOST_KEY_FIELDS = 2


def contradictions(prefix: str, dialect: Dialect, schema: Schema, storage: Storage) -> list[Fault]:
    """What cannot be together in one feed, in the order of the document."""
    faults = [*_in_prefix(prefix, schema), *_in_dialect(dialect)]
    for place, field in enumerate(schema.fields_):
        missing = schema.missing_values if field.missing_values is None else field.missing_values
        faults += [
            Fault(f"schema.fields[{place}].{fault.place}", *fault[1:])
            for fault in faults_of_field(field, missing, dialect)
        ]
    return [*faults, *_in_names(schema), *_in_key(schema), *_in_storage(schema, storage)]


def _in_prefix(text: str, schema: Schema) -> Iterator[Fault]:
    prefix = Prefix.parsed(text)
    if problem := prefix.problem:
        yield Fault("prefix", problem, "write it as in incoming/{station}/ or incoming/log-{device}.csv")
        return
    names = [field.name for field in schema.fields_]
    for name in prefix.fields:
        if name not in names:
            yield Fault(
                "prefix", f"{{{name}}} is no field", f"declare it in schema.fields, or name one of {_list(names)}"
            )
    if {*names} <= {*prefix.fields}:
        yield Fault("prefix", "all fields are in it, so the lines of a file have none", "declare the columns of a line")


def _in_dialect(dialect: Dialect) -> Iterator[Fault]:
    if dialect.delimiter == dialect.quote_char:
        yield Fault("dialect.quoteChar", "is the delimiter too", "choose another one, or null if there are no quotes")
    if dialect.comment_char and dialect.comment_char[0] in (dialect.delimiter, dialect.quote_char):
        yield Fault("dialect.commentChar", "starts with the delimiter or the quote", "choose another one")


def _in_names(schema: Schema) -> Iterator[Fault]:
    count = Counter(field.name for field in schema.fields_)
    for place, field in enumerate(schema.fields_):
        if count[field.name] > 1:
            yield Fault(f"schema.fields[{place}].name", f"there are {count[field.name]} of it", "name each field once")
        elif field.name != field.name.strip() or not field.name.isprintable() or set(field.name) & {"{", "}"}:
            problem = "has a brace, a space at an end, or a character that cannot be printed"
            yield Fault(f"schema.fields[{place}].name", problem, "rename it, in the header of the files too")


def _in_key(schema: Schema) -> Iterator[Fault]:
    key, by_name = schema.primary_key, {field.name: field for field in schema.fields_}
    if len(key) > _MOST_KEY_FIELDS:
        remedy = "name the partition key, then the sort key; join others into one column where the files are made"
        yield Fault("schema.primaryKey", f"has {len(key)} fields, and a table's key has one or two", remedy)
    if len({*key}) < len(key):
        yield Fault("schema.primaryKey", "names a field twice", "name each once")
    for place, name in enumerate(key):
        if problem := _problem_of_key(by_name.get(name), [*by_name]):
            yield Fault(f"schema.primaryKey[{place}]", *problem)


def _problem_of_key(field: Field | None, names: list[str]) -> tuple[str, str] | None:
    if field is None:
        return "is no field", f"name one of {_list(names)}"
    if field.constraints.required is False:
        return f"{field.name} is optional", "leave out its constraint required: a field of the key always is"
    if field.type == "boolean":
        return f"{field.name} is a boolean, which no key can have", "declare it as a string"
    if len(field.name.encode()) > _KEY_NAME_BYTES:
        return f"{field.name} has more than {_KEY_NAME_BYTES} bytes", "rename it"
    return None


def _in_storage(schema: Schema, storage: Storage) -> Iterator[Fault]:
    if not (live := storage.time_to_live):
        return
    datetimes = [field.name for field in schema.fields_ if field.type == "datetime"]
    if live.field not in datetimes:
        remedy = f"name one of {_list(datetimes)}" if datetimes else "leave timeToLive out, as no field is a datetime"
        yield Fault("storage.timeToLive.field", f"{live.field} is no datetime of this feed", remedy)
    if live.attribute in {field.name for field in schema.fields_}:
        yield Fault("storage.timeToLive.attribute", f"{live.attribute} is a field, too", "choose another name")


def _list(names: list[str]) -> str:
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")  # noqa: PLR2004 - enough to recognize them
