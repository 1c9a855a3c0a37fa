"""Who PostgreSQL runs as: it refuses to be root, so for root somebody else, who must get as far as its files."""

import os
import pwd
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from deployments.embedded.parts import Account

_STAND_IN: Final = "nobody"


def unprivileged_account(*paths: Path, say: Callable[[str], None]) -> Account:
    """Whoever runs this; for root an account without rights, by which the paths can be reached.

    Folders on the way that nobody but root may pass, like `/root`, are made passable for the group that they belong
    to, and the account gets that group: others still cannot pass, and nobody can list them.

    Raises:
        KeyError: the system has no such account.
        OSError: a folder on the way cannot be made passable.
    """
    if os.geteuid() != 0:
        return Account()
    entry = pwd.getpwnam(_STAND_IN)
    groups = {_group_that_may_pass(folder, say) for path in paths for folder in _closed_folders(path)}
    return Account(entry.pw_uid, entry.pw_gid, tuple(sorted(groups)))


def _closed_folders(path: Path) -> Iterator[Path]:
    """The folder and those above it that not everybody may pass, outermost first."""
    folder = path.resolve()
    return (folder for folder in (*reversed(folder.parents), folder) if not folder.stat().st_mode & stat.S_IXOTH)


def _group_that_may_pass(folder: Path, say: Callable[[str], None]) -> int:
    found = folder.stat()
    if not found.st_mode & stat.S_IXGRP:
        folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXGRP)
        say(f"{folder} is now passable for its group (chmod g+x): PostgreSQL refuses to run as root")
    return found.st_gid
