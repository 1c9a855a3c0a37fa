"""The saved blocks of one environment: how they come to a Prefect server, and how a run finds them there."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import boto3
from prefect.blocks.core import Block
from prefect.context import SyncClientContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect_aws.credentials import AwsCredentials

from blocks.aws_block import AwsBlock
from blocks.domain.errors import BlockMissingError
from blocks.file_ledger import FileLedger
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.stack_outputs import StackOutputs, StackSettings

BLOCK_NAME: Final = "sensor-ingest"
"""Name of the block document of each type; the type says which one is meant."""

BLOCK_TYPES: Final[tuple[type[AwsBlock], ...]] = (LandingZone, ReadingsTable, FileLedger, Mailer)

B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class Environment:
    """The four blocks that a run touches the world with."""

    landing_zone: LandingZone
    readings_table: ReadingsTable
    file_ledger: FileLedger
    mailer: Mailer


def load_environment() -> Environment:
    """The environment as it is saved on the Prefect server right now, edits in the UI included.

    Prefect's temporary server, to which nobody deploys, is given the blocks here, from the CloudFormation stack.

    Raises:
        BlockMissingError: a block was never saved there.
        StackMissingError: on a temporary server, and there is no such stack.
    """
    if get_current_settings().api.url is None:
        save_environment(StackOutputs.read(StackSettings().stack, boto3.client("cloudformation")), AwsCredentials())
    # In a run its client is used, elsewhere one for all four: making one reads the CA certificates.
    with SyncClientContext.get_or_create(), ThreadPoolExecutor() as threads:
        landing_zone = threads.submit(copy_context().run, _load, LandingZone)
        readings_table = threads.submit(copy_context().run, _load, ReadingsTable)
        file_ledger = threads.submit(copy_context().run, _load, FileLedger)
        mailer = threads.submit(copy_context().run, _load, Mailer)
        return Environment(landing_zone.result(), readings_table.result(), file_ledger.result(), mailer.result())


def save_environment(outputs: StackOutputs, credentials: AwsCredentials) -> list[str]:
    """The names of the documents saved: all four, and the credentials they share.

    What the CloudFormation stack decides (bucket, tables, endpoint) follows the stack. What people decide (prefixes,
    recipients, limits) is taken from the stack when a document is first saved; after that the edits in the UI stay.
    """
    from_stack: dict[type[AwsBlock], dict[str, Any]] = {
        LandingZone: {"bucket": outputs.bucket_name},
        ReadingsTable: {"table_name": outputs.readings_table_name},
        FileLedger: {"table_name": outputs.files_table_name},
        Mailer: {},
    }
    at_first: dict[type[AwsBlock], dict[str, Any]] = {
        LandingZone: {
            "incoming_prefix": outputs.incoming_prefix,
            "target_bucket": outputs.target_bucket,
        },
        Mailer: {"sender": outputs.sender_address, "recipients": list(outputs.recipients)},
    }
    credentials = _save_credentials(credentials)
    saved = [f"{AwsCredentials.get_block_type_slug()}/{BLOCK_NAME}"]
    for block_type in BLOCK_TYPES:
        fields = from_stack[block_type] | {"credentials": credentials}
        standing = find_block(block_type)
        block = standing.model_copy(update=fields) if standing else block_type(**fields, **at_first.get(block_type, {}))
        block.save(BLOCK_NAME, overwrite=True)
        saved.append(f"{block_type.get_block_type_slug()}/{BLOCK_NAME}")
    return saved


def _save_credentials(credentials: AwsCredentials) -> AwsCredentials:
    """The credentials as they are saved now: those of an emulator follow it, those of AWS are people's to edit."""
    standing = find_block(AwsCredentials)
    if standing and not _is_emulated(standing) and not _is_emulated(credentials):
        return standing
    credentials.save(BLOCK_NAME, overwrite=True)
    return credentials


def _is_emulated(credentials: AwsCredentials) -> bool:
    return credentials.aws_client_parameters.endpoint_url is not None


def _load(block_type: type[B]) -> B:
    try:
        return block_type.load(BLOCK_NAME, _sync=True)  # type: ignore[return-value,call-arg] # as `async_dispatch` has it
    except ValueError as error:
        if not _is_not_found(error):
            raise
        api = get_current_settings().api.url or "(temporary server)"
        raise BlockMissingError(f"{block_type.get_block_type_slug()}/{BLOCK_NAME}", api) from error


def find_block(block_type: type[B]) -> B | None:
    """The block of that type as it is saved on the Prefect server; None where none is."""
    try:
        return block_type.load(BLOCK_NAME)  # type: ignore[return-value] # no event loop runs here, so it is the block
    except ValueError as error:
        if _is_not_found(error):
            return None
        raise


def _is_not_found(error: ValueError) -> bool:
    """Prefect 3.8 turns "not found" into a ValueError, and names the cause."""
    return isinstance(error.__cause__, ObjectNotFound)
