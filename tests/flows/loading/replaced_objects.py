"""What a bucket without versions does that the emulator's, which keeps them, cannot: it loses the object."""

import pytest

from blocks.domain.errors import ObjectReplacedError
from blocks.domain.models import FileStatus, SensorFile
from blocks.landing_zone import LandingZone
from tests.support.world import World


def replace_before_copy(world: World, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """As in a bucket without versions: the first object that is to be copied is not there any more, but this one."""
    copy = LandingZone.store_copy

    def replaced(_zone: LandingZone, file: SensorFile, _status: FileStatus) -> str:
        monkeypatch.setattr(LandingZone, "store_copy", copy)
        world.put(content, file.key)
        raise ObjectReplacedError(file.uri, file.version)

    monkeypatch.setattr(LandingZone, "store_copy", replaced)
