"""A file leaves `incoming/` only when its bytes are elsewhere, and takes nothing else's place."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from prefect_aws.credentials import AwsCredentials

from blocks.landing_zone import LandingZone
from flows.errors import ArchiveError
from flows.models import SensorFile
from tests.blocks.conftest import Bucket, Line, s3_refusal

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

IN_TWO_PARTS = [b"0" * 5 * 1024**2, b"0000-0001,1483906366,10.10\n"]


class ConnectionLostError(Exception):
    """What ends a run between two calls."""


def lose_connection() -> None:
    raise ConnectionLostError


def put_in_parts(bucket: Bucket, key: str) -> SensorFile:
    """A file as tools upload it that is large: its ETag is none that a copy of it would have."""
    part_of = {"Bucket": bucket.name, "Key": key, "UploadId": ""}
    part_of["UploadId"] = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": bucket.client.upload_part(**part_of, PartNumber=number, Body=part)["ETag"]}  # type: ignore[arg-type]
        for number, part in enumerate(IN_TWO_PARTS, start=1)
    ]
    bucket.client.complete_multipart_upload(**part_of, MultipartUpload={"Parts": parts})  # type: ignore[arg-type,typeddict-item]
    head = bucket.client.head_object(Bucket=bucket.name, Key=key)
    return SensorFile(
        bucket=bucket.name,
        key=key,
        version_id=head.get("VersionId"),
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
    )


# ---- Where files go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_an_archived_file_is_under_processed_with_all_of_its_key_and_nowhere_else(
    landing_zone: LandingZone, bucket: Bucket, key: str
) -> None:
    archived_to = landing_zone.archive(bucket.put(f"incoming/{key}", b"its content"))
    assert f"s3://{bucket.name}/processed/{key}" == archived_to
    assert [f"processed/{key}"] == bucket.keys
    assert b"its content" == bucket.get(archived_to)


@pytest.mark.parametrize("key", KEYS)
def test_a_refused_file_is_under_refused_with_all_of_its_key_and_nowhere_else(
    landing_zone: LandingZone, bucket: Bucket, key: str
) -> None:
    assert f"s3://{bucket.name}/refused/{key}" == landing_zone.refuse(bucket.put(f"incoming/{key}"))
    assert [f"refused/{key}"] == bucket.keys


def test_files_that_share_a_name_never_meet(landing_zone: LandingZone, bucket: Bucket) -> None:
    landing_zone.archive(bucket.put("incoming/north/a.csv", b"north"))
    landing_zone.archive(bucket.put("incoming/south/a.csv", b"south"))
    assert ["processed/north/a.csv", "processed/south/a.csv"] == bucket.keys


def test_loaded_files_go_to_another_bucket_if_one_is_set_and_refused_ones_stay(
    bucket: Bucket, make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials
) -> None:
    other = make_bucket(True)  # noqa: FBT003
    landing_zone = LandingZone(bucket=bucket.name, target_bucket=other.name, credentials=credentials)
    landing_zone.archive(bucket.put("incoming/good.csv"))
    landing_zone.refuse(bucket.put("incoming/bad.csv"))
    assert ["processed/good.csv"] == other.keys
    assert ["refused/bad.csv"] == bucket.keys


def test_a_file_from_outside_incoming_is_archived_under_its_whole_key(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    landing_zone.archive(bucket.put("elsewhere/a.csv"))
    assert ["processed/elsewhere/a.csv"] == bucket.keys


# ---- Others in the same place -------------------------------------------------------------------------------------


def test_another_file_that_came_this_way_before_is_not_overwritten(landing_zone: LandingZone, bucket: Bucket) -> None:
    landing_zone.archive(bucket.put("incoming/a.csv", b"monday"))
    second = bucket.put("incoming/a.csv", b"friday")
    archived_to = landing_zone.archive(second)
    assert b"monday" == bucket.get(f"s3://{bucket.name}/processed/a.csv")
    assert f"s3://{bucket.name}/processed/a.{second.version}.csv" == archived_to
    assert b"friday" == bucket.get(archived_to)
    assert [] == [key for key in bucket.keys if key.startswith("incoming/")]


def test_the_same_content_that_came_this_way_before_is_not_kept_twice(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    landing_zone.archive(bucket.put("incoming/a.csv", b"the same"))
    landing_zone.archive(bucket.put("incoming/a.csv", b"the same"))
    assert ["processed/a.csv"] == bucket.keys


def test_a_file_whose_two_names_are_both_taken_stays(landing_zone: LandingZone, bucket: Bucket) -> None:
    file = bucket.put("incoming/a.csv", b"friday")
    bucket.put("processed/a.csv", b"monday")
    bucket.put(f"processed/a.{file.version}.csv", b"sunday")
    with pytest.raises(ArchiveError, match=r"incoming/a\.csv has no place under .*/processed/"):
        landing_zone.archive(file)
    assert "incoming/a.csv" in bucket.keys


# ---- A newer version ----------------------------------------------------------------------------------------------


def test_a_version_that_is_dropped_between_copy_and_delete_stays(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    file = bucket.put("incoming/a.csv", b"monday")
    with s3_line.before("DeleteObject", lambda: bucket.put("incoming/a.csv", b"friday")):
        archived_to = landing_zone.archive(file)
    assert b"monday" == bucket.get(archived_to)
    assert b"friday" == bucket.get(f"s3://{bucket.name}/incoming/a.csv")


def test_a_version_that_is_dropped_before_the_copy_is_not_archived_in_place_of_the_loaded_one(
    make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials
) -> None:
    bucket = make_bucket(True)  # noqa: FBT003
    file = bucket.put("incoming/a.csv", b"monday")
    bucket.put("incoming/a.csv", b"friday")
    archived_to = LandingZone(bucket=bucket.name, credentials=credentials).archive(file)
    assert b"monday" == bucket.get(archived_to)
    assert b"friday" == bucket.get(f"s3://{bucket.name}/incoming/a.csv")


def test_without_versions_a_file_that_was_replaced_before_the_copy_is_not_archived_at_all(
    make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials
) -> None:
    bucket = make_bucket(False)  # noqa: FBT003
    file = bucket.put("incoming/a.csv", b"monday")
    bucket.put("incoming/a.csv", b"friday")
    with pytest.raises(ClientError, match=r"PreconditionFailed|412"):
        LandingZone(bucket=bucket.name, credentials=credentials).archive(file)
    assert ["incoming/a.csv"] == bucket.keys


# ---- Done again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("put", [Bucket.put, put_in_parts])
def test_what_ended_after_the_copy_is_made_good_and_leaves_one_copy(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line, put: Callable[[Bucket, str], SensorFile]
) -> None:
    file = put(bucket, "incoming/a.csv")
    with s3_line.before("DeleteObject", lose_connection), pytest.raises(ConnectionLostError):
        landing_zone.archive(file)
    assert ["incoming/a.csv", "processed/a.csv"] == bucket.keys
    assert f"s3://{bucket.name}/processed/a.csv" == landing_zone.archive(file)
    assert ["processed/a.csv"] == bucket.keys


def test_what_ended_after_the_delete_is_made_good_and_leaves_one_copy(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    file = bucket.put("incoming/a.csv")
    assert landing_zone.archive(file) == landing_zone.archive(file)
    assert ["processed/a.csv"] == bucket.keys


def test_a_copy_that_was_cut_off_deletes_nothing(landing_zone: LandingZone, bucket: Bucket, s3_line: Line) -> None:
    file = bucket.put("incoming/a.csv")
    with (
        s3_line.on("after-call.s3.CopyObject", lambda **_: bucket.put("processed/a.csv", b"half")),
        pytest.raises(ArchiveError, match=r"processed/a\.csv is not whole"),
    ):
        landing_zone.archive(file)
    assert ["incoming/a.csv", "processed/a.csv"] == bucket.keys


def test_a_refused_delete_is_no_success(landing_zone: LandingZone, bucket: Bucket, s3_line: Line) -> None:
    file = bucket.put("incoming/a.csv")
    with (
        s3_line.answering("DeleteObject", s3_refusal(500, "InternalError")),
        pytest.raises(ClientError, match="Internal"),
    ):
        landing_zone.archive(file)
