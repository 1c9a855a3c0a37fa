"""The blocks as a Prefect server keeps them: how a deployment saves them, and how a run loads them."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, TypeVar

from prefect.blocks.core import Block
from prefect.context import SyncClientContext
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect_aws.credentials import AwsCredentials
from pydantic import ValidationError

from blocks.aws_block import AwsBlock
from blocks.domain.errors import BlockInvalidError, BlockMissingError
from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed
from blocks.domain.feed.selection import Feeds
from blocks.feeds import address, save_feeds, saved_feed_blocks
from blocks.file_ledger import FileLedger
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.stack_outputs import StackOutputs, current_stack_outputs

BLOCK_NAME: Final = "sensor-ingest"
"""Name of the block document of each type; the type says which one is meant."""

BLOCK_TYPES: Final[tuple[type[AwsBlock], ...]] = (LandingZone, ReadingsTable, FileLedger, Mailer)

B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class SavedBlocks:
    """The blocks of one deployment: bucket, readings table, file ledger, mailer; and its feeds."""

    landing_zone: LandingZone
    readings_table: ReadingsTable
    file_ledger: FileLedger
    mailer: Mailer

    @cached_property
    def feeds(self) -> Feeds:
        """The feeds, loaded when they are first asked for: their patterns need pyarrow, which emails do not.

        Raises as `load_feeds` does.
        """
        return load_feeds()

    def table_of(self, feed: Feed) -> ReadingsTable:
        """The table that the rows of the feed go to, written as the block of the readings table says."""
        table = feed.storage.table
        return self.readings_table.model_copy(update={"table_name": table}) if table else self.readings_table


def run_blocks() -> SavedBlocks:
    """The blocks as they were when this flow run first asked for them: edits in the UI reach the next run.

    Raises:
        BlockInvalidError: a saved block has an invalid field.
        BlockMissingError: a block is not saved on this Prefect server.
    """
    return _blocks_of(flow_run.id)


@lru_cache(maxsize=1)
def _blocks_of(flow_run_id: str) -> SavedBlocks:  # noqa: ARG001 - the key of the cache
    return load_blocks()


def load_blocks() -> SavedBlocks:
    """The blocks as the Prefect server has them now, edits in the UI included.

    No `deploy` reaches Prefect's temporary server, so its blocks are saved here first, from the CloudFormation stack.

    Raises:
        BlockInvalidError: a saved block has an invalid field.
        BlockMissingError: a block is not saved there.
        StackMissingError: the server is temporary, and there is no such stack.
    """
    if get_current_settings().api.url is None:
        save_blocks(current_stack_outputs(), AwsCredentials())
    # In a run its client is used, elsewhere one for all four: making one reads the CA certificates.
    with SyncClientContext.get_or_create(), ThreadPoolExecutor() as threads:
        landing_zone = threads.submit(copy_context().run, _load, LandingZone)
        readings_table = threads.submit(copy_context().run, _load, ReadingsTable)
        file_ledger = threads.submit(copy_context().run, _load, FileLedger)
        mailer = threads.submit(copy_context().run, _load, Mailer)
        return SavedBlocks(landing_zone.result(), readings_table.result(), file_ledger.result(), mailer.result())


def load_feeds() -> Feeds:
    """The feeds as the Prefect server has them now.

    Raises:
        BlockInvalidError: a saved feed cannot be used.
        BlockMissingError: no feed is saved there.
        FeedsConflictError: two feeds cannot be used together.
    """
    saved = saved_feed_blocks()
    if not saved:
        raise BlockMissingError(address(SENSOR_READINGS.name), get_current_settings().api.url or "(temporary server)")
    return Feeds(block.feed for block in saved)


def load_ledger() -> FileLedger:
    """The ledger's block as the Prefect server has it now, for who needs no other block.

    Raises:
        BlockInvalidError: the saved block has an invalid field.
        BlockMissingError: the block is not saved there.
    """
    return _load(FileLedger)


def save_blocks(
    outputs: StackOutputs, credentials: AwsCredentials, feeds: Iterable[Feed] = (SENSOR_READINGS,)
) -> list[str]:
    """The names of the block documents saved: all four, the credentials they share, and the feeds.

    What the CloudFormation stack decides (bucket, tables, endpoint) is saved anew each time. What people decide
    (prefixes, recipients, limits) is taken from the stack when a block is first saved; later edits in the UI stay.
    A feed is saved anew until a person has edited it there.

    Raises:
        BlockInvalidError: a saved block has an invalid field.
        FeedsConflictError: two feeds cannot be used together.
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
        existing = find_block(block_type)
        block = existing.model_copy(update=fields) if existing else block_type(**fields, **at_first.get(block_type, {}))
        block.save(BLOCK_NAME, overwrite=True)
        saved.append(f"{block_type.get_block_type_slug()}/{BLOCK_NAME}")
    zone = find_block(LandingZone)
    prefix = zone.incoming_prefix if zone else outputs.incoming_prefix
    return [*saved, *save_feeds(feeds, prefix, zone.model_extra if zone else None)]


def _save_credentials(credentials: AwsCredentials) -> AwsCredentials:
    """The credentials as they are saved now: keys and a new endpoint are saved, else the block keeps people's edits."""
    existing = find_block(AwsCredentials)
    if existing and credentials.aws_access_key_id is None and _endpoint(existing) == _endpoint(credentials):
        return existing
    credentials.save(BLOCK_NAME, overwrite=True)
    return credentials


def _endpoint(credentials: AwsCredentials) -> str | None:
    return credentials.aws_client_parameters.endpoint_url


def _load(block_type: type[B]) -> B:
    block = find_block(block_type)
    if block is None:
        raise BlockMissingError(_address(block_type), get_current_settings().api.url or "(temporary server)")
    return block


def find_block(block_type: type[B]) -> B | None:
    """The block of that type as it is saved on the Prefect server; None where none is.

    Raises:
        BlockInvalidError: it has a field that it does not take, or lacks one.
    """
    try:
        return block_type.load(BLOCK_NAME, _sync=True)  # type: ignore[return-value,call-arg] # as `async_dispatch` has it
    except ValueError as error:
        if _is_not_found(error):
            return None
        raise
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        problems = [
            ": ".join([*map(str, each["loc"]), each["msg"].removeprefix("Value error, ")])
            for each in error.__cause__.errors()
        ]
        raise BlockInvalidError(_address(block_type), problems) from error


def _address(block_type: type[Block]) -> str:
    return f"{block_type.get_block_type_slug()}/{BLOCK_NAME}"


def _is_not_found(error: ValueError) -> bool:
    """Prefect 3.9 turns "not found" into a ValueError, and names the cause."""
    return isinstance(error.__cause__, ObjectNotFound)
