"""PostgreSQL of a stack: as root it runs as an account that may enter nothing else, and nothing is opened for it."""

import os
import pwd
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployments.embedded.services.database import find_postgres
from deployments.embedded.services.postgres import Postgres
from tests.deployments.embedded.conftest import NewDataDir

NOT_SET = threading.Event()

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")


@contextmanager
def running(postgres: Postgres) -> Iterator[int]:
    """The number of the server's process."""
    postgres.probe()
    postgres.prepare()
    process = postgres.part().start()
    try:
        process.wait_until_ready(NOT_SET)
        yield process.pid
    finally:
        process.stop(NOT_SET)
        process.part.after_stop()


@pytest.fixture
def closed(new_data_dir: NewDataDir) -> Path:
    """A folder as `/root` is: no other user may enter it."""
    folder = new_data_dir()
    folder.chmod(0o700)
    return folder


def in_closed(folder: Path) -> Postgres:
    data_dir = folder / "data"
    (data_dir / "logs").mkdir(parents=True)
    found = find_postgres(data_dir, {}, print)
    assert found
    return found


def test_postgresql_runs_if_the_path_is_too_long_for_its_socket(closed: Path) -> None:
    postgres = in_closed(closed / ("deep " * 12) / ("deeper " * 12))
    with running(postgres):
        assert "/tmp/" in postgres.url
        assert 0o700 == stat.S_IMODE(postgres.socket_folder.stat().st_mode)
    assert not postgres.socket_folder.exists()


@as_root
def test_postgresql_runs_below_a_folder_that_only_root_may_enter_and_the_folder_stays_closed(closed: Path) -> None:
    postgres = in_closed(closed)
    with running(postgres) as pid:
        account = Path(f"/proc/{pid}").stat().st_uid
        assert account not in {0, pwd.getpwnam("nobody").pw_uid}
        assert (0o700, 0) == (stat.S_IMODE(closed.stat().st_mode), closed.stat().st_uid)
        assert {account} == {path.stat().st_uid for path in (postgres.home, *postgres.home.rglob("*"))}


@as_root
def test_programs_in_a_folder_that_only_root_may_enter_are_copied_while_postgresql_runs(closed: Path) -> None:
    installed = in_closed(closed)
    for name in (installed.wheel.name, f"{installed.wheel.name}.libs"):
        shutil.copytree(installed.wheel.parent / name, closed / "packages" / name)
    postgres = Postgres(closed / "packages" / installed.wheel.name, installed.data_dir, {})
    with running(postgres):
        copy = postgres.programs
        assert copy.is_relative_to("/tmp")
        assert 0o700 == stat.S_IMODE(closed.stat().st_mode)
    assert not copy.exists()


@as_root
def test_a_database_of_an_older_version_is_taken_over(closed: Path) -> None:
    postgres = in_closed(closed)
    with running(postgres):
        pass
    nobody = pwd.getpwnam("nobody")
    for path in (postgres.home, *postgres.home.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    with running(postgres) as pid:
        assert {Path(f"/proc/{pid}").stat().st_uid} == {path.stat().st_uid for path in postgres.files.rglob("*")}
