"""A file leaves `incoming/` only when its bytes are elsewhere, and takes nothing else's place."""

from collections.abc import Callable

import pytest
from prefect_aws.credentials import AwsCredentials

from blocks.domain.errors import ArchiveError, ObjectReplacedError
from blocks.landing_zone import LandingZone
from tests.blocks.conftest import Bucket, Line, archive, refuse

KEYS = [
    "sensors.csv",
    "with space.csv",
    "a+b%20c%2B100%.csv",
    "Zürich 测试 😀.csv",
    'it\'s "quoted" & <tagged>.csv',
    "2026/11/22/deep/down/sensors.csv",
    "no-ending",
    "line\nbreak.csv",
    "incoming/incoming/a.csv",
]


# ---- Where files go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_an_archived_file_is_under_processed_with_all_of_its_key_and_nowhere_else(
    landing_zone: LandingZone, bucket: Bucket, key: str
) -> None:
    archived_to = archive(landing_zone, bucket.put(f"incoming/{key}", b"its content"))
    assert f"s3://{bucket.name}/processed/{key}" == archived_to
    assert [f"processed/{key}"] == bucket.keys
    assert b"its content" == bucket.get(archived_to)


@pytest.mark.parametrize("key", KEYS)
def test_a_refused_file_is_under_refused_with_all_of_its_key_and_nowhere_else(
    landing_zone: LandingZone, bucket: Bucket, key: str
) -> None:
    assert f"s3://{bucket.name}/refused/{key}" == refuse(landing_zone, bucket.put(f"incoming/{key}"))
    assert [f"refused/{key}"] == bucket.keys


def test_files_that_share_a_name_never_meet(landing_zone: LandingZone, bucket: Bucket) -> None:
    archive(landing_zone, bucket.put("incoming/north/a.csv", b"north"))
    archive(landing_zone, bucket.put("incoming/south/a.csv", b"south"))
    assert ["processed/north/a.csv", "processed/south/a.csv"] == bucket.keys


def test_loaded_files_go_to_another_bucket_if_one_is_set_and_refused_ones_stay(
    bucket: Bucket, make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials
) -> None:
    other = make_bucket(True)  # noqa: FBT003
    landing_zone = LandingZone(bucket=bucket.name, target_bucket=other.name, credentials=credentials)
    archive(landing_zone, bucket.put("incoming/good.csv"))
    refuse(landing_zone, bucket.put("incoming/bad.csv"))
    assert ["processed/good.csv"] == other.keys
    assert ["refused/bad.csv"] == bucket.keys


def test_a_file_from_outside_incoming_is_archived_under_its_whole_key(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    archive(landing_zone, bucket.put("elsewhere/a.csv"))
    assert ["processed/elsewhere/a.csv"] == bucket.keys


# ---- Others in the same place -------------------------------------------------------------------------------------


def test_another_file_that_came_this_way_before_is_not_overwritten(landing_zone: LandingZone, bucket: Bucket) -> None:
    archive(landing_zone, bucket.put("incoming/a.csv", b"monday"))
    second = bucket.put("incoming/a.csv", b"friday")
    archived_to = archive(landing_zone, second)
    assert b"monday" == bucket.get(f"s3://{bucket.name}/processed/a.csv")
    assert f"s3://{bucket.name}/processed/a.{second.version}.csv" == archived_to
    assert b"friday" == bucket.get(archived_to)
    assert [] == [key for key in bucket.keys if key.startswith("incoming/")]


def test_the_same_content_that_came_this_way_before_is_not_kept_twice(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    archive(landing_zone, bucket.put("incoming/a.csv", b"the same"))
    archive(landing_zone, bucket.put("incoming/a.csv", b"the same"))
    assert ["processed/a.csv"] == bucket.keys


def test_a_file_whose_two_names_are_both_taken_stays(landing_zone: LandingZone, bucket: Bucket) -> None:
    file = bucket.put("incoming/a.csv", b"friday")
    bucket.put("processed/a.csv", b"monday")
    bucket.put(f"processed/a.{file.version}.csv", b"sunday")
    with pytest.raises(ArchiveError, match=r"incoming/a\.csv has no place under .*/processed/"):
        archive(landing_zone, file)
    assert "incoming/a.csv" in bucket.keys


# ---- A newer version ----------------------------------------------------------------------------------------------


def test_a_version_that_is_dropped_between_copy_and_delete_stays(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    file = bucket.put("incoming/a.csv", b"monday")
    with s3_line.before("DeleteObject", lambda: bucket.put("incoming/a.csv", b"friday")):
        archived_to = archive(landing_zone, file)
    assert b"monday" == bucket.get(archived_to)
    assert b"friday" == bucket.get(f"s3://{bucket.name}/incoming/a.csv")


def test_a_version_that_is_dropped_before_the_copy_is_not_archived_in_place_of_the_loaded_one(
    make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials
) -> None:
    bucket = make_bucket(True)  # noqa: FBT003
    file = bucket.put("incoming/a.csv", b"monday")
    bucket.put("incoming/a.csv", b"friday")
    archived_to = archive(LandingZone(bucket=bucket.name, credentials=credentials), file)
    assert b"monday" == bucket.get(archived_to)
    assert b"friday" == bucket.get(f"s3://{bucket.name}/incoming/a.csv")


@pytest.mark.parametrize("largest", [LandingZone.copy_in_one_bytes, 0], ids=["in one", "in parts"])
def test_without_versions_a_file_that_is_gone_before_the_copy_is_named(
    make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LandingZone, "copy_in_one_bytes", largest)
    bucket = make_bucket(False)  # noqa: FBT003
    file = bucket.put("incoming/a.csv", b"monday")
    bucket.client.delete_object(Bucket=bucket.name, Key="incoming/a.csv")
    with pytest.raises(ObjectReplacedError, match="does not have the version"):
        archive(LandingZone(bucket=bucket.name, credentials=credentials), file)


@pytest.mark.parametrize("largest", [LandingZone.copy_in_one_bytes, 0], ids=["in one", "in parts"])
def test_without_versions_a_file_that_was_replaced_before_the_copy_is_not_archived_at_all(
    make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LandingZone, "copy_in_one_bytes", largest)
    bucket = make_bucket(False)  # noqa: FBT003
    file = bucket.put("incoming/a.csv", b"monday")
    bucket.put("incoming/a.csv", b"friday")
    with pytest.raises(ObjectReplacedError, match="does not have the version"):
        archive(LandingZone(bucket=bucket.name, credentials=credentials), file)
    assert ["incoming/a.csv"] == bucket.keys
