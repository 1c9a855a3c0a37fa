"""The Unix accounts that PostgreSQL runs as: it refuses to run as root."""

import os
import pwd
from pathlib import Path
from typing import Final

from deployments.embedded.parts import UnixAccount

OWN_FOLDER: Final = Path("/proc/self/cwd")
"""The folder that a process started in, also if its account may not enter the folders above it.

Linux follows this link without a look at the path. Source: proc_pid_cwd(5).
"""

_UNUSED: Final = range(60_706, 61_184)
"""Numbers that no distribution gives to an account. Source: systemd.io/UIDS-GIDS."""


def server_account() -> UnixAccount:
    """The account of this process; if that is root, one that no user has and no other program runs as.

    It has a number and no name, so nothing has to be created, and nothing is left behind.

    Raises:
        FileNotFoundError: this process is root's, and the system has no `/proc/self/cwd` as Linux has.
    """
    if os.geteuid() != 0:
        return UnixAccount()
    OWN_FOLDER.stat()
    number = next(number for number in _UNUSED if not _has_name(number))
    return UnixAccount(number, number, ())


def initdb_account() -> UnixAccount:
    """The account of this process; if that is root, `nobody`: initdb wants an account with a name.

    Raises:
        KeyError: the system has no user `nobody`.
    """
    if os.geteuid() != 0:
        return UnixAccount()
    entry = pwd.getpwnam("nobody")
    return UnixAccount(entry.pw_uid, entry.pw_gid, ())


def _has_name(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True
