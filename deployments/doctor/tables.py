"""Checks of the two tables: keys and indexes as in the template, permission to write."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from botocore.exceptions import ClientError

from blocks.aws_block import AwsBlock
from blocks.file_ledger import FileLedger
from blocks.readings_table import ReadingsTable
from deployments.doctor.check_results import Check, CheckResult, ok, problem, warning
from deployments.doctor.system import InspectedSystem
from deployments.doctor.template import template_properties

_ITEM_WITHOUT_KEY: Final = {"written_by": {"S": "sensor-ingest-doctor"}}
"""DynamoDB refuses it: it has no key attribute."""

Schema = dict[str, tuple[str, str]]
"""Name and type of the key attribute, by key type (HASH or RANGE)."""


def _table_name(system: InspectedSystem, block_type: type[AwsBlock]) -> str:
    """The table of the saved block; if none is saved, that of the stack."""
    saved = system.blocks.get(block_type)
    if isinstance(saved, ReadingsTable | FileLedger):
        return saved.table_name
    return system.outputs.readings_table_name if block_type is ReadingsTable else system.outputs.files_table_name


def _schema(keys: Iterable[Mapping[str, str]], attributes: Iterable[Mapping[str, str]]) -> Schema:
    types = {each["AttributeName"]: each["AttributeType"] for each in attributes}
    return {key["KeyType"]: (key["AttributeName"], types[key["AttributeName"]]) for key in keys}


def _schemas(described: Mapping[str, Any]) -> dict[str, Schema]:
    """The key schema of each index by its name; that of the table has the name "".

    What the template has only under a condition (`!If`, a list), such as the indexes of version 0.1, is left out.
    """
    attributes = _unconditional(described["AttributeDefinitions"])
    indexes = {each["IndexName"]: each["KeySchema"] for each in _unconditional(described.get("GlobalSecondaryIndexes"))}
    return {name: _schema(keys, attributes) for name, keys in {"": described["KeySchema"], **indexes}.items()}


def _unconditional(members: Iterable[Any] | None) -> list[Mapping[str, Any]]:
    return [each for each in members or () if isinstance(each, Mapping)]


def equals_template(block_type: type[AwsBlock], resource: str, system: InspectedSystem) -> CheckResult:
    """The table exists with the keys, indexes, billing mode and protection of the template, and is active."""
    name, client = _table_name(system, block_type), system.client_of(block_type, "dynamodb")
    try:
        table = client.describe_table(TableName=name)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return problem(
            f"the table {name} does not exist in {client.meta.region_name}",
            f"correct table name and region of the block {block_type.get_block_type_slug()}/sensor-ingest "
            "(`sensor-ingest deploy` does), or deploy deployments/aws/stack.yaml again",
        )
    declared, found = template_properties(resource), _schemas(table)
    for index, keys in _schemas(declared).items():
        if found.get(index) != keys:
            what = f"index {index}" if index else f"keys of {name}"
            return problem(
                f"{what}: {_as_text(found.get(index))}, not {_as_text(keys)}",
                "deploy deployments/aws/stack.yaml again, then `sensor-ingest deploy`; the keys of a table cannot "
                "change, so replace a table with other keys by a new one",
            )
    if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return problem(f"{name} is {table['TableStatus']}", "wait until it is ACTIVE")
    mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if mode != declared["BillingMode"]:
        remedy = f"aws dynamodb update-table --table-name {name} --billing-mode PAY_PER_REQUEST"
        return warning(f"{name} is {mode}: a large file may be throttled", remedy)
    if not table.get("DeletionProtectionEnabled"):
        remedy = f"aws dynamodb update-table --table-name {name} --deletion-protection-enabled"
        return warning(f"{name} has no deletion protection", remedy)
    return ok(f"{name}, {mode}, keys {_as_text(found[''])}")


def _as_text(schema: Schema | None) -> str:
    return ", ".join(f"{name} ({kind}, {key})" for key, (name, kind) in (schema or {}).items()) or "missing"


def is_writable(
    block_type: type[AwsBlock], write: Callable[[Any, str], object], system: InspectedSystem
) -> CheckResult:
    """The credentials may write; the check uses the operation of runs, with an item that DynamoDB refuses."""
    try:
        write(system.client_of(block_type, "dynamodb"), _table_name(system, block_type))
    except ClientError as error:
        # DynamoDB checks the permission first, the item second.
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        return ok("writable")
    return problem("it accepted an item without a key", "check that the endpoint is DynamoDB")


def _write_reading(client: Any, table: str) -> None:  # noqa: ANN401 - boto3's client
    client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": _ITEM_WITHOUT_KEY}}]})


def _write_ledger_entry(client: Any, table: str) -> None:  # noqa: ANN401 - boto3's client
    client.put_item(TableName=table, Item=_ITEM_WITHOUT_KEY)


CHECKS: Final = (
    Check("readings table", partial(equals_template, ReadingsTable, "ReadingsTable"), ("stack",)),
    Check("readings table writes", partial(is_writable, ReadingsTable, _write_reading), ("readings table",)),
    Check("files table", partial(equals_template, FileLedger, "FilesTable"), ("stack",)),
    Check("files table writes", partial(is_writable, FileLedger, _write_ledger_entry), ("files table",)),
)
