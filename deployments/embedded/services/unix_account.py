"""The Unix account that PostgreSQL runs as: it refuses to run as root."""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deployments.embedded.parts import Log, UnixAccount

_UNPRIVILEGED_USER: Final = "nobody"


def unprivileged_account(*paths: Path, log: Log) -> UnixAccount:
    """The account of this process; if that is root, an unprivileged account that can access the paths.

    A folder above a path that only root may traverse, such as `/root`, is made traversable for its group, and the
    account joins that group: other users still cannot traverse the folder, and the account cannot list it.

    Raises:
        KeyError: the system has no user `nobody`.
        OSError: the mode of such a folder cannot be changed.
    """
    if os.geteuid() != 0:
        return UnixAccount()
    entry = pwd.getpwnam(_UNPRIVILEGED_USER)
    groups = {_traversing_group(folder, log) for path in paths for folder in _restricted_folders(path)}
    return UnixAccount(entry.pw_uid, entry.pw_gid, tuple(sorted(groups)))


def _restricted_folders(path: Path) -> Iterator[Path]:
    """The path and the folders above it that not all users may traverse, outermost first."""
    folder = path.resolve()
    return (each for each in (*reversed(folder.parents), folder) if not each.stat().st_mode & stat.S_IXOTH)


def _traversing_group(folder: Path, log: Log) -> int:
    """The id of the folder's group, which may traverse the folder from now on."""
    found = folder.stat()
    if not found.st_mode & stat.S_IXGRP:
        folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXGRP)
        log(f"chmod g+x {folder}: PostgreSQL refuses to run as root, and its account must traverse this folder")
    return found.st_gid
