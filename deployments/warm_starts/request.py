"""What a launcher asks for: a module to run, and all that its process would have inherited from the launcher."""

import os
from dataclasses import dataclass
from typing import Self

from .launcher import PROTOCOL

FOLDER = 3
"""Place of the working directory among the descriptors; before it come standard input, output and error."""
DESCRIPTORS = 4
_ATTRIBUTES = 7
"""Parts of a request between its version and the environment."""


class DeclinedError(Exception):
    """The warm process does not fork for this request; the message says why."""


@dataclass(frozen=True)
class Request:
    """A run to start."""

    module: str
    programs: str
    """Folder of the interpreter that started the launcher."""
    umask: int
    niceness: int
    ignored_signals: tuple[int, ...]
    blocked_signals: tuple[int, ...]
    limits: dict[int, tuple[int, int]]
    """Soft and hard resource limits by their kind; -1 stands for none."""
    environment: dict[bytes, bytes]
    descriptors: tuple[int, ...]

    @classmethod
    def parse(cls, body: bytes, descriptors: list[int]) -> Self:
        """The request.

        Raises:
            DeclinedError: a launcher of another version sent it.
        """
        protocol, *rest = body.split(b"\0")
        if protocol != PROTOCOL or len(descriptors) != DESCRIPTORS or len(rest) < _ATTRIBUTES:
            raise DeclinedError(f"the warm process has another version, {PROTOCOL.decode()}")
        module, programs, umask, niceness, ignored, blocked, limits = (os.fsdecode(text) for text in rest[:_ATTRIBUTES])
        return cls(
            module=module,
            programs=programs,
            umask=int(umask),
            niceness=int(niceness),
            ignored_signals=tuple(map(int, ignored.split())),
            blocked_signals=tuple(map(int, blocked.split())),
            limits={kind: (soft, hard) for kind, soft, hard in (map(int, each.split(":")) for each in limits.split())},
            environment=dict(_pair(each) for each in rest[_ATTRIBUTES:]),
            descriptors=tuple(descriptors),
        )

    @property
    def folder(self) -> int:
        """Descriptor of the working directory."""
        return self.descriptors[FOLDER]

    def close(self) -> None:
        """Close the descriptors."""
        for each in self.descriptors:
            os.close(each)


def _pair(variable: bytes) -> tuple[bytes, bytes]:
    name, _, value = variable.partition(b"=")
    return name, value
