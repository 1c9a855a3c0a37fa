"""Each block type is one that people can find, understand and fill in on the Prefect UI."""

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite

from blocks.feeds import FeedBlock
from blocks.saved_blocks import BLOCK_TYPES

ALL_TYPES: tuple[type[Block], ...] = (*BLOCK_TYPES, FeedBlock)


@pytest.mark.parametrize("block", ALL_TYPES)
class TestPrefectsOwnSuite(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        raise NotImplementedError("the parameters above take its place")

    @pytest.mark.skip(reason="it fetches the picture from the network; the blocks show prefect-aws's own")
    def test_has_a_valid_image(self, block: type[Block]) -> None: ...


@pytest.mark.parametrize("block_type", ALL_TYPES)
def test_a_block_type_is_named_after_what_it_is_for(block_type: type[Block]) -> None:
    assert block_type.get_block_type_name().startswith("Sensor ")
    assert block_type.get_block_type_slug() == block_type.get_block_type_name().lower().replace(" ", "-")


def test_no_two_block_types_are_the_same_to_the_server() -> None:
    assert len(ALL_TYPES) == len({block_type.get_block_type_slug() for block_type in ALL_TYPES})
