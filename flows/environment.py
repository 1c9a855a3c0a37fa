"""The blocks of the run at hand."""

from functools import lru_cache

from prefect.runtime import flow_run

from blocks.saved_blocks import Environment, load_environment


def environment() -> Environment:
    """The blocks as they were when this flow run first asked for them: edits in the UI reach the next run.

    Raises:
        BlockMissingError: this Prefect server was never told what the environment is.
    """
    return _environment_of(flow_run.id)


@lru_cache(maxsize=1)
def _environment_of(flow_run_id: str) -> Environment:  # noqa: ARG001 - what the cache goes by
    return load_environment()
