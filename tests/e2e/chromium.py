"""The browser that the tests drive: the machine's own, or Debian's package, installed when it is missing."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS: Final = (
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whatever a page asks for, nothing leaves the machine
)

_INSTALL_SECONDS: Final = 180


def find_or_install(log: Path) -> str:
    """The path of a Chromium; where there is none and `apt-get` may be used, it is installed first.

    Raises:
        pytest.skip.Exception: there is none; tests/conftest.py prints the reason below the results.
    """
    if found := _found():
        return found
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        tried = "there is no apt-get"
    elif os.geteuid() != 0:
        tried = "only root may use apt-get"
    else:
        _install(apt_get, log)
        if found := _found():
            return found
        tried = f"`apt-get install chromium` failed, see {log}"
    pytest.skip(
        f"no browser has looked at the Prefect UI: none of {', '.join(NAMES)} is on PATH, and {tried}. "
        "Install one, in Debian with: sudo apt-get install --no-install-recommends chromium"
    )


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _install(apt_get: str, log: Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("wb") as output:
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            command = [apt_get, *arguments]
            with suppress(subprocess.TimeoutExpired):  # where no packages can be reached, it tries for very long
                subprocess.run(
                    command,
                    env=environment,
                    check=False,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_INSTALL_SECONDS,
                )
