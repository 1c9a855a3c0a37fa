"""Prefect's settings in the warm process: those of the runs that it forks, so that no run has to read them."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .request import DeclinedError, Request

_FILES: Final = (".env", "prefect.toml", "pyproject.toml")
"""Files of the working directory that Prefect 3.9 reads settings from."""

_Key = tuple[frozenset[tuple[bytes, bytes]], tuple[tuple[int, int], ...]]
"""The variables, and of each file there is its number and when it was changed."""


class PrefectSettings:
    """The settings that are in force, read again when a run has others: that takes 40 ms, and mostly all have the same.

    The variables `PREFECT__…` tell a run which one it is; they are no settings.
    """

    def __init__(self, environment: Mapping[bytes, bytes]) -> None:
        """Begin with those of this process, which Prefect has read from that environment."""
        self._in_force = _key(environment)

    def use(self, request: Request) -> None:
        """Put the settings of that run in force.

        Raises:
            DeclinedError: they are not valid, or the working directory is not there for this process; a new
                interpreter says what is wrong, where the run's log shows it.
        """
        before, here = dict(os.environb), os.open(".", os.O_PATH)
        try:
            os.fchdir(request.folder)
            os.getcwd()  # noqa: PTH109 - fails where the warm process cannot see the folder, as in a /tmp of its own
            key = _key(request.environment)
            if key != self._in_force:
                os.environb.clear()
                os.environb.update(request.environment)
                self._in_force = (frozenset(), ((0, 0),))  # in case that the next line fails half-way
                _read_again()
                self._in_force = _key(request.environment)
        except Exception as error:
            raise DeclinedError(f"the warm process cannot use its folder or Prefect settings: {error}") from error
        finally:
            os.environb.clear()
            os.environb.update(before)
            os.fchdir(here)
            os.close(here)


def _read_again() -> None:
    if "prefect" not in sys.modules:
        return
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415 - only if runs use Prefect
    from prefect.logging.configuration import setup_logging  # noqa: PLC0415

    # Twice: the first time, the folder of the profiles is still that of the settings in force.
    refresh_global_settings_context()
    refresh_global_settings_context()
    setup_logging(incremental=False)


def _key(environment: Mapping[bytes, bytes]) -> _Key:
    variables = ((name, value) for name, value in environment.items() if name.startswith(b"PREFECT_"))
    settings = frozenset((name, value) for name, value in variables if not name.startswith(b"PREFECT__"))
    home = Path(os.fsdecode(environment.get(b"PREFECT_HOME", b"~/.prefect"))).expanduser()
    profiles = os.fsdecode(environment.get(b"PREFECT_PROFILES_PATH", os.fsencode(home / "profiles.toml")))
    files = [file.stat() for file in map(Path, (*_FILES, profiles)) if file.exists()]
    return settings, tuple((file.st_ino, file.st_mtime_ns) for file in files)
