"""A file goes back to `incoming/`, and whatever ends the move, it is at one of the places that are looked at."""

from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from blocks.domain.errors import ArchiveError, KeyTooLongError, PermissionMissingError
from blocks.landing_zone import LandingZone
from tests.blocks.conftest import Bucket, Line, archive, s3_refusal

KEY = "incoming/a.csv"


class ConnectionLostError(Exception):
    """What ends a command between two calls."""


def lose_connection() -> None:
    raise ConnectionLostError


@pytest.mark.parametrize("prefix", ["failed/", "refused/"])
def test_a_file_is_moved_back_with_its_bytes(landing_zone: LandingZone, bucket: Bucket, prefix: str) -> None:
    file = bucket.put(f"{prefix}a.V1.csv", b"monday")
    back = landing_zone.put_back(file, KEY)
    assert [KEY] == bucket.keys
    assert b"monday" == bucket.get(back.uri)
    assert back.landed_at >= file.landed_at


def test_what_waits_in_incoming_is_not_overwritten(landing_zone: LandingZone, bucket: Bucket) -> None:
    waiting, file = bucket.put(KEY, b"friday"), bucket.put("failed/a.csv", b"monday")
    with pytest.raises(ArchiveError, match=r"incoming/a\.csv is a newer object.*failed/a\.csv stays"):
        landing_zone.put_back(file, KEY)
    assert (b"friday", b"monday") == (bucket.get(waiting.uri), bucket.get(file.uri))


def test_what_arrives_during_the_move_is_not_overwritten_and_the_file_is_kept(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    file = bucket.put("failed/a.csv", b"monday")

    def as_s3_does(request: Any, **_: Any) -> AWSResponse | None:  # noqa: ANN401 - botocore's own
        # MiniStack 1.5.33 takes no notice of the condition. Source: "CopyObject", Amazon S3 API reference.
        if not request.url.endswith(KEY):
            return None
        bucket.put(KEY, b"friday")
        return s3_refusal(412, "PreconditionFailed") if request.headers.get("If-None-Match") in (b"*", "*") else None

    with (
        s3_line.on("before-send.s3.CopyObject", as_s3_does),
        pytest.raises(ArchiveError, match=r"newer object.*failed/a\.put-back\.csv stays"),
    ):
        landing_zone.put_back(file, KEY)
    assert {KEY: b"friday", "failed/a.put-back.csv": b"monday"} == {
        key: bucket.get(f"s3://{bucket.name}/{key}") for key in bucket.keys
    }


def test_a_load_that_takes_the_new_version_away_at_once_does_not_take_the_source_for_its_own_copy(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    """The load ends after the copy was verified, before the source is deleted."""
    file = bucket.put("failed/a.csv", b"monday")
    deletes: list[object] = []

    def load_and_fail(**_: object) -> None:
        deletes.append(1)
        if len(deletes) == 2:
            loaded = bucket.look_at(KEY)
            archive(landing_zone, loaded, "failed")

    with s3_line.on("before-send.s3.DeleteObject", load_and_fail):
        landing_zone.put_back(file, KEY)
    assert ["failed/a.csv"] == bucket.keys
    assert b"monday" == bucket.get(file.uri)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_move_that_was_cut_off_can_be_made_again(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line, call: int
) -> None:
    file = bucket.put("failed/a.csv", b"monday")
    seen: list[str] = []

    def cut_off(event_name: str, **_: object) -> None:
        seen.append(event_name)
        if len(seen) == call:
            lose_connection()

    with (
        s3_line.on("before-send.s3.CopyObject", cut_off),
        s3_line.on("before-send.s3.DeleteObject", cut_off),
        pytest.raises(ConnectionLostError),
    ):
        landing_zone.put_back(file, KEY)
    places = bucket.keys
    assert [] == [key for key in places if bucket.get(f"s3://{bucket.name}/{key}") != b"monday"]
    if KEY in places:  # only the source is left behind: the file is loaded, and once more if it is put back again
        bucket.client.delete_object(Bucket=bucket.name, Key=KEY)
    for key in [key for key in bucket.keys if key != KEY][:1]:
        landing_zone.put_back(bucket.look_at(key), KEY)
    assert [KEY] == bucket.keys


def test_a_role_that_may_not_delete_or_put_moves_nothing(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    file = bucket.put("failed/a.csv")
    for operation in ("CopyObject", "DeleteObject"):
        with (
            s3_line.answering(operation, s3_refusal(403, "AccessDenied")),
            pytest.raises(PermissionMissingError, match="s3:"),
        ):
            landing_zone.put_back(file, KEY)
        assert "failed/a.csv" in bucket.keys
        assert KEY not in bucket.keys
    landing_zone.put_back(file, KEY)
    assert [KEY] == bucket.keys


def test_no_version_is_read_as_that_needs_another_permission(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    file = bucket.put("failed/a.csv")
    with s3_line.answering("CopyObject"), s3_line.answering("HeadObject"), s3_line.answering("GetObject"):
        landing_zone.put_back(file, KEY)
    assert [] == [call.url for call in s3_line.calls if "versionId" in call.url]
    assert [] == [call for call in s3_line.calls if b"versionId" in (call.headers.get("x-amz-copy-source") or b"")]


def test_a_file_that_could_only_fail_again_stays(landing_zone: LandingZone, bucket: Bucket, s3_line: Line) -> None:
    too_long = bucket.put("failed/" + "k" * 1015)
    with pytest.raises(KeyTooLongError):
        landing_zone.put_back(too_long, "incoming/" + "k" * 1015)
    archived = bucket.put("failed/archived.csv")
    with (
        s3_line.answering("CopyObject", s3_refusal(403, "ObjectNotInActiveTierError")),
        pytest.raises(ClientError, match="ObjectNotInActiveTierError"),
    ):
        landing_zone.put_back(archived, "incoming/archived.csv")
    assert sorted([too_long.key, archived.key]) == bucket.keys
