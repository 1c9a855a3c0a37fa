from blocks.documents import load_environment
from flows.models import SensorFile
from flows.sweep import find_stranded
from tests.flows.conftest import World


def test_files_that_have_waited_too_long_are_found_but_for_folders_and_other_prefixes(world: World) -> None:
    stranded = world.put("0000-0001,1483906366,1\n", "incoming/stranded é+1.csv")
    world.put("", "incoming/folder/")
    world.put("0000-0001,1483906366,1\n", "processed/done.csv")
    assert [stranded] == [file.uri for file in find_stranded.fn(0) if "stranded" in file.uri or "done" in file.uri]


def test_files_that_have_just_arrived_are_left_to_their_events(world: World) -> None:
    world.put("0000-0001,1483906366,1\n", "incoming/fresh.csv")
    assert [] == [file.key for file in find_stranded.fn(3600)]


def test_files_that_a_run_has_in_hand_are_left_to_it(world: World) -> None:
    uri = world.put("0000-0001,1483906366,1\n", "incoming/in-hand.csv")
    blocks = load_environment()
    found = blocks.landing_zone.describe(SensorFile.model_validate(uri))
    assert found is not None
    entry = blocks.file_ledger.claim(found, "a run")
    assert uri not in [file.uri for file in find_stranded.fn(0)]
    blocks.file_ledger.release(entry)
    assert uri in [file.uri for file in find_stranded.fn(0)]
