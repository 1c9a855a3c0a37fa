"""The two tables: there, with the keys and indexes of the template, and open to writing."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from blocks.aws_block import AwsBlock
from blocks.file_ledger import FileLedger
from blocks.readings_table import ReadingsTable
from deployments.doctor.findings import Check, Verdict, ok, problem, warning
from deployments.doctor.system import World, template_properties

_KEYLESS: Final = {"written_by": {"S": "sensor-ingest-doctor"}}
"""An item that no table takes: it has none of the keys."""

Schema = dict[str, tuple[str, str]]
"""Name and type of the attribute, by the part that it plays (HASH or RANGE)."""


def _name(world: World, block_type: type[AwsBlock]) -> str:
    """The table that runs use; where no block is saved, the one that the stack made."""
    saved = world.blocks.get(block_type)
    if isinstance(saved, ReadingsTable | FileLedger):
        return saved.table_name
    return world.outputs.readings_table_name if block_type is ReadingsTable else world.outputs.files_table_name


def _schema(keys: Iterable[Mapping[str, str]], attributes: Iterable[Mapping[str, str]]) -> Schema:
    types = {each["AttributeName"]: each["AttributeType"] for each in attributes}
    return {key["KeyType"]: (key["AttributeName"], types[key["AttributeName"]]) for key in keys}


def _schemas(described: Mapping[str, Any]) -> dict[str, Schema]:
    """The keys of the table, and those of each index by its name; the table itself has none."""
    attributes = described["AttributeDefinitions"]
    indexes = {each["IndexName"]: each["KeySchema"] for each in described.get("GlobalSecondaryIndexes", [])}
    return {name: _schema(keys, attributes) for name, keys in {"": described["KeySchema"], **indexes}.items()}


def as_in_the_template(block_type: type[AwsBlock], resource: str) -> Callable[[World], Verdict]:
    """A check that the table is like the template's."""

    def look(world: World) -> Verdict:
        name, client = _name(world, block_type), world.client_of(block_type, "dynamodb")
        try:
            table = client.describe_table(TableName=name)["Table"]
        except client.exceptions.ResourceNotFoundException:
            return problem(
                f"there is no table {name} in {client.meta.region_name}",
                f"set table name and region of the block {block_type.get_block_type_slug()}/sensor-ingest right "
                "(`sensor-ingest deploy` does), or deploy deployments/aws/stack.yaml again",
            )
        expected, found = _schemas(template_properties(resource)), _schemas(table)
        for index, keys in expected.items():
            if found.get(index) != keys:
                what = f"index {index}" if index else f"keys of {name}"
                return problem(
                    f"{what}: {_in_words(found.get(index))}, not {_in_words(keys)}",
                    "deploy deployments/aws/stack.yaml again, then `sensor-ingest deploy`; keys cannot be changed, "
                    "so a table with others has to give way to a new one",
                )
        if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
            return problem(f"{name} is {table['TableStatus']}", "wait until it is ACTIVE")
        mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
        if mode != template_properties(resource)["BillingMode"]:
            remedy = f"aws dynamodb update-table --table-name {name} --billing-mode PAY_PER_REQUEST"
            return warning(f"{name} is {mode}: a large file may be throttled", remedy)
        return ok(f"{name}, {mode}, keys {_in_words(found[''])}")

    return look


def _in_words(schema: Schema | None) -> str:
    return ", ".join(f"{name} ({kind}, {part})" for part, (name, kind) in (schema or {}).items()) or "missing"


def writable(block_type: type[AwsBlock], write: Callable[[Any, str], object]) -> Callable[[World], Verdict]:
    """A check that the table takes writes, by one that can never succeed, of the operation that runs store with."""

    def look(world: World) -> Verdict:
        client = world.client_of(block_type, "dynamodb")
        try:
            write(client, _name(world, block_type))
        except ClientError as error:
            # Whether we may write is looked at first, what the item lacks only then.
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            return ok("takes writes")
        return problem("it took an item without a key", "see that this is DynamoDB")

    return look


def _store_readings(client: Any, name: str) -> None:  # noqa: ANN401 - boto3's client
    client.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": _KEYLESS}}]})


def _note_in_ledger(client: Any, name: str) -> None:  # noqa: ANN401 - boto3's client
    client.put_item(TableName=name, Item=_KEYLESS)


CHECKS: Final = (
    Check("readings table", as_in_the_template(ReadingsTable, "ReadingsTable"), ("stack",)),
    Check("readings table writes", writable(ReadingsTable, _store_readings), ("readings table",)),
    Check("files table", as_in_the_template(FileLedger, "FilesTable"), ("stack",)),
    Check("files table writes", writable(FileLedger, _note_in_ledger), ("files table",)),
)
