"""A file whose move was cut off is moved by the next who tries, and there is one of it in the end."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from blocks.domain.errors import ArchiveError
from blocks.domain.models import SensorFile
from blocks.landing_zone import LandingZone
from tests.blocks.conftest import Bucket, Line, archive, s3_refusal

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
    return bucket.look_at(key)


@pytest.mark.parametrize("put", [Bucket.put, put_in_parts])
def test_what_ended_after_the_copy_is_made_good_and_leaves_one_copy(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line, put: Callable[[Bucket, str], SensorFile]
) -> None:
    file = put(bucket, "incoming/a.csv")
    with s3_line.before("DeleteObject", lose_connection), pytest.raises(ConnectionLostError):
        archive(landing_zone, file)
    assert ["incoming/a.csv", "processed/a.csv"] == bucket.keys
    assert f"s3://{bucket.name}/processed/a.csv" == archive(landing_zone, file)
    assert ["processed/a.csv"] == bucket.keys


def test_a_copy_whose_etag_is_not_that_of_the_file_is_known_by_its_bytes(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    file = put_in_parts(bucket, "incoming/a.csv")
    copy = bucket.put("processed/a.csv", b"".join(IN_TWO_PARTS))
    assert copy.etag != file.etag
    assert copy.uri == archive(landing_zone, file)
    assert ["processed/a.csv"] == bucket.keys


def test_another_file_that_differs_only_at_its_end_is_another_file(landing_zone: LandingZone, bucket: Bucket) -> None:
    bucket.put("processed/a.csv", b"".join(IN_TWO_PARTS)[:-1] + b"!")
    file = put_in_parts(bucket, "incoming/a.csv")
    assert f"s3://{bucket.name}/processed/a.{file.version}.csv" == archive(landing_zone, file)


def test_what_ended_after_the_delete_is_made_good_and_leaves_one_copy(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    file = bucket.put("incoming/a.csv")
    assert archive(landing_zone, file) == archive(landing_zone, file)
    assert ["processed/a.csv"] == bucket.keys


def test_a_copy_that_was_cut_off_deletes_nothing(landing_zone: LandingZone, bucket: Bucket, s3_line: Line) -> None:
    file = bucket.put("incoming/a.csv")
    with (
        s3_line.on("after-call.s3.CopyObject", lambda **_: bucket.put("processed/a.csv", b"half")),
        pytest.raises(ArchiveError, match=r"processed/a\.csv is not whole"),
    ):
        archive(landing_zone, file)
    assert ["incoming/a.csv", "processed/a.csv"] == bucket.keys


def test_a_refused_delete_is_no_success(landing_zone: LandingZone, bucket: Bucket, s3_line: Line) -> None:
    file = bucket.put("incoming/a.csv")
    with (
        s3_line.answering("DeleteObject", s3_refusal(500, "InternalError")),
        pytest.raises(ClientError, match="Internal"),
    ):
        archive(landing_zone, file)
