"""Checks of the blocks: saved on the server, and equal to the outputs of the stack."""

from functools import partial
from typing import Final

from blocks.aws_block import AwsBlock
from blocks.file_ledger import FileLedger
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME, BLOCK_TYPES
from blocks.stack_outputs import StackOutputs
from deployments.doctor.check_results import Check, CheckResult, ok, problem, warning
from deployments.doctor.system import InspectedSystem

_DEPLOY_OR_EDIT: Final = "`sensor-ingest deploy`, or edit the block"


def is_saved(block_type: type[AwsBlock], system: InspectedSystem) -> CheckResult:
    """The block is saved."""
    if system.load_block(block_type) is None:
        return problem(f"it is not saved under the name {BLOCK_NAME}", "`sensor-ingest deploy`")
    return ok("saved")


def equals_stack(block_type: type[AwsBlock], system: InspectedSystem) -> CheckResult:
    """Region, bucket, prefix, table and sender of the saved block are those of the stack."""
    saved, outputs = system.blocks[block_type], system.outputs
    region = saved.credentials.region_name
    if region not in (None, outputs.region):
        return problem(f"its region is {region}, the stack's is {outputs.region}", _DEPLOY_OR_EDIT)
    for field, value, expected in _compared(saved, outputs):
        if value != expected:
            return problem(f"its {field} is {value}, the stack's is {expected}", _DEPLOY_OR_EDIT)
    if isinstance(saved, Mailer) and saved.sender != outputs.sender_address:
        remedy = "edit the block, or deploy the stack with that SenderAddress: the run role permits no other sender"
        return warning(f"its sender is {saved.sender}, the stack's is {outputs.sender_address}", remedy)
    return ok("equal to the stack's outputs")


def _compared(saved: AwsBlock, outputs: StackOutputs) -> list[tuple[str, str, str]]:
    """Name, saved value and expected value of each field that the stack determines."""
    match saved:
        case LandingZone():
            return [
                ("bucket", saved.bucket, outputs.bucket_name),
                ("incoming prefix", saved.incoming_prefix, outputs.incoming_prefix),
            ]
        case ReadingsTable():
            return [("table", saved.table_name, outputs.readings_table_name)]
        case FileLedger():
            return [("table", saved.table_name, outputs.files_table_name)]
        case _:
            return []


CHECKS: Final = tuple(
    check
    for block_type in BLOCK_TYPES
    for name in [f"block {block_type.get_block_type_slug()}"]
    for check in (
        Check(name, partial(is_saved, block_type), ("prefect api",)),
        Check(f"{name} contents", partial(equals_stack, block_type), (name, "stack")),
    )
)
