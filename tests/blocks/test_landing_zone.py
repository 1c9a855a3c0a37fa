"""What the landing zone sees of a file, where it keeps refused rows, and which settings it takes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from prefect_aws.credentials import AwsCredentials
from pydantic import ValidationError

from blocks.domain.errors import ArchiveError, KeyTooLongError, ObjectReplacedError
from blocks.domain.models import SensorFile
from blocks.landing_zone import LandingZone
from tests.blocks.conftest import Bucket, Line, archive, refuse, s3_refusal


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    path = tmp_path / "rejects.csv"
    path.write_bytes(b"line,reason,text\r\n1,value,x\r\n")
    return path


# ---- Looking and reading ------------------------------------------------------------------------------------------


def test_a_file_is_described_with_its_version_etag_and_size(landing_zone: LandingZone, bucket: Bucket) -> None:
    file = bucket.put("incoming/a b+c%20é.csv", b"12345678")
    assert file == landing_zone.describe(SensorFile(bucket=bucket.name, key=file.key))


def test_a_file_is_described_as_it_is_now_and_not_as_it_was_announced(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    announced = bucket.put("incoming/a.csv", b"monday")
    assert bucket.put("incoming/a.csv", b"friday!") == landing_zone.describe(announced)


def test_an_object_that_does_not_exist_is_described_as_none(landing_zone: LandingZone, bucket: Bucket) -> None:
    assert None is landing_zone.describe(SensorFile(bucket=bucket.name, key="incoming/never.csv"))


def test_an_object_that_was_deleted_is_described_as_none(landing_zone: LandingZone, bucket: Bucket) -> None:
    file = bucket.put("incoming/a.csv")
    bucket.client.delete_object(Bucket=bucket.name, Key=file.key)
    assert None is landing_zone.describe(file)


def test_why_s3_says_nothing_of_an_object_is_said_by_the_error(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    file = bucket.put("incoming/a.csv")
    no = [s3_refusal(400, "", with_body=False)] * 2  # botocore looks once more, where the bucket says that it is
    with (
        s3_line.answering("HeadObject", *no),
        s3_line.answering("GetObject", s3_refusal(400, "ExpiredToken")),
        pytest.raises(ClientError, match="ExpiredToken"),
    ):
        landing_zone.describe(file)
    with (
        s3_line.answering("HeadObject", *no),
        pytest.raises(ClientError, match=r"\(400\) when calling the HeadObject"),
    ):
        landing_zone.describe(file)


def test_a_file_is_listed_with_the_version_that_was_announced_if_it_is_that_one(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    file = bucket.put("incoming/a.csv", b"monday")
    bucket.put("incoming/a.csv.gz")
    listed = landing_zone.listed(file)
    assert listed is not None
    assert file == listed.model_copy(update={"landed_at": file.landed_at}), "a listing may have milliseconds"
    friday = bucket.put("incoming/a.csv", b"friday")
    listed = landing_zone.listed(file)
    assert listed is not None
    assert (None, friday.etag) == (listed.version_id, listed.etag)
    assert None is landing_zone.listed(SensorFile(bucket=bucket.name, key="incoming/a"))


def test_the_bytes_of_the_version_that_was_claimed_are_read_or_none(landing_zone: LandingZone, bucket: Bucket) -> None:
    file = bucket.put("incoming/a.csv", b"monday")
    bucket.put("incoming/a.csv", b"friday")
    if file.version_id:
        with landing_zone.opened(file) as body:
            assert b"monday" == body.read()
    else:
        with pytest.raises(ObjectReplacedError), landing_zone.opened(file):
            pass


# ---- What waits ----------------------------------------------------------------------------------------------------

IN_A_MINUTE = timedelta(minutes=-1)
"""An age that every file has which is there now."""


def test_files_that_wait_are_found_with_what_listing_tells_of_them(landing_zone: LandingZone, bucket: Bucket) -> None:
    files = [bucket.put(f"incoming/{key}") for key in ("a b+c%20é.csv", "deep/down/b.csv")]
    known = [(file.bucket, file.key, None, file.etag, file.size) for file in files]
    found = list(landing_zone.waiting(IN_A_MINUTE))
    assert known == [(file.bucket, file.key, file.version_id, file.etag, file.size) for file in found]


def test_folders_names_that_nobody_can_store_and_what_has_left_incoming_do_not_wait(
    landing_zone: LandingZone, bucket: Bucket
) -> None:
    for key in ("incoming/", "incoming/2026/", "incoming.csv", "processed/a.csv", "refused/b.csv"):
        bucket.put(key)
    bucket.client.put_object(Bucket=bucket.name, Key="incoming/\0.csv", Body=b"")
    archive(landing_zone, bucket.put("incoming/c.csv"))
    assert [] == list(landing_zone.waiting(IN_A_MINUTE))


def test_files_that_came_just_now_are_left_to_their_event(landing_zone: LandingZone, bucket: Bucket) -> None:
    bucket.put("incoming/a.csv")
    assert [] == list(landing_zone.waiting(timedelta(minutes=1)))


def test_all_files_that_wait_are_found_however_many(landing_zone: LandingZone, bucket: Bucket, s3_line: Line) -> None:
    keys = [bucket.put(f"incoming/{number}.csv").key for number in range(5)]

    def two_a_page(params: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - botocore's own
        params["MaxKeys"] = 2

    with s3_line.on("provide-client-params.s3.ListObjectsV2", two_a_page), s3_line.answering("ListObjectsV2"):
        assert keys == [file.key for file in landing_zone.waiting(IN_A_MINUTE)]
    assert 3 == len(s3_line.calls)


# ---- Refused rows -------------------------------------------------------------------------------------------------


def test_refused_rows_of_a_loaded_file_are_under_rejects(
    landing_zone: LandingZone, bucket: Bucket, rejects: Path
) -> None:
    file = bucket.put("incoming/2026/a b+c%20é.csv")
    stored_at = landing_zone.store_rejects(file, rejects, refused=False)
    assert f"s3://{bucket.name}/rejects/2026/a b+c%20é.csv.rejects.csv" == stored_at
    assert rejects.read_bytes() == bucket.get(stored_at)


def test_the_rows_of_a_refused_file_are_beside_it(landing_zone: LandingZone, bucket: Bucket, rejects: Path) -> None:
    file = bucket.put("incoming/a.csv")
    landing_zone.store_rejects(file, rejects, refused=True)
    refuse(landing_zone, file)
    assert ["refused/a.csv", "refused/a.csv.rejects.csv"] == bucket.keys


def test_refused_rows_are_stored_once_however_often(landing_zone: LandingZone, bucket: Bucket, rejects: Path) -> None:
    file = bucket.put("incoming/a.csv")
    first = landing_zone.store_rejects(file, rejects, refused=False)
    assert first == landing_zone.store_rejects(file, rejects, refused=False)
    assert ["incoming/a.csv", "rejects/a.csv.rejects.csv"] == bucket.keys


def test_refused_rows_of_an_earlier_file_of_that_name_are_not_overwritten(
    landing_zone: LandingZone, bucket: Bucket, rejects: Path
) -> None:
    monday = landing_zone.store_rejects(bucket.put("incoming/a.csv", b"monday"), rejects, refused=False)
    on_monday = rejects.read_bytes()
    rejects.write_bytes(on_monday.replace(b"x", b"y"))
    file = bucket.put("incoming/a.csv", b"friday")
    friday = landing_zone.store_rejects(file, rejects, refused=False)
    assert on_monday == bucket.get(monday)
    assert f"s3://{bucket.name}/rejects/a.{file.version}.csv.rejects.csv" == friday
    assert rejects.read_bytes() == bucket.get(friday)


# ---- Long keys ----------------------------------------------------------------------------------------------------


def test_a_key_fits_if_it_does_under_processed_and_refused(landing_zone: LandingZone) -> None:
    fits = SensorFile(bucket="landing", key="incoming/" + "ü" * 507)
    landing_zone.check_key(fits)
    with pytest.raises(KeyTooLongError, match=r"1 byte\(s\) too long: under processed/"):
        landing_zone.check_key(fits.model_copy(update={"key": fits.key + "k"}))
    landing_zone = landing_zone.model_copy(update={"refused_prefix": "refused-files/"})
    with pytest.raises(KeyTooLongError, match="under refused-files/"):
        landing_zone.check_key(fits)


def test_a_file_is_not_copied_to_a_key_that_is_too_long(landing_zone: LandingZone, bucket: Bucket) -> None:
    file = bucket.put("incoming/" + "k" * 1015)
    with pytest.raises(KeyTooLongError):
        landing_zone.store_copy(file, "archived")
    assert [file.key] == bucket.keys


# ---- Settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["incoming", "processed", "refused", "failed", "rejects"])
@pytest.mark.parametrize("prefix", ["", "no-slash", "/leading/", "/"])
def test_a_prefix_is_a_folder_and_never_the_whole_bucket(field: str, prefix: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        LandingZone.model_validate({"bucket": "landing", f"{field}_prefix": prefix})


@pytest.mark.parametrize("field", ["processed", "refused", "failed", "rejects"])
@pytest.mark.parametrize("prefix", ["incoming/", "incoming/done/"])
def test_nothing_is_moved_to_where_it_would_arrive_again(field: str, prefix: str) -> None:
    with pytest.raises(ValidationError, match="would arrive again"):
        LandingZone.model_validate({"bucket": "landing", f"{field}_prefix": prefix})


@pytest.mark.parametrize(
    "settings",
    [
        {"processed_prefix": "incoming/", "target_bucket": "archive"},
        {"incoming_prefix": "processed/new/"},
        {"processed_prefix": "incoming-done/"},
    ],
)
def test_prefixes_that_do_not_meet_are_taken(settings: dict[str, Any]) -> None:
    assert LandingZone.model_validate({"bucket": "landing", **settings})


def test_a_file_is_never_moved_onto_itself(bucket: Bucket, credentials: AwsCredentials) -> None:
    landing_zone = LandingZone(
        bucket="another-bucket", target_bucket=bucket.name, processed_prefix="incoming/", credentials=credentials
    )
    file = bucket.put("incoming/a.csv")
    with pytest.raises(ArchiveError, match="moved onto itself"):
        archive(landing_zone, file)
    assert ["incoming/a.csv"] == bucket.keys
