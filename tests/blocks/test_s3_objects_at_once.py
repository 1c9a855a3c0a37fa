"""Two runs that move in the same moment, or a run and somebody with other tools."""

from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from blocks.domain.errors import ArchiveError
from blocks.landing_zone import LandingZone
from tests.blocks.conftest import Bucket, Line, archive, s3_refusal


def test_another_file_that_comes_to_the_target_in_the_moment_of_the_copy_is_not_overwritten(
    landing_zone: LandingZone, bucket: Bucket, s3_line: Line
) -> None:
    file = bucket.put("incoming/a.csv", b"0000-0001,1483906366,1\n")

    def as_s3_does(request: Any, **_: Any) -> AWSResponse | None:  # noqa: ANN401 - botocore's own
        # MiniStack 1.5.33 takes no notice of the condition. Source: "CopyObject", Amazon S3 API reference.
        bucket.put("processed/a.csv", b"somebody else's")
        unless_there = request.headers.get("If-None-Match")
        return s3_refusal(412, "PreconditionFailed") if unless_there in (b"*", "*") else None

    with s3_line.on("before-send.s3.CopyObject", as_s3_does), pytest.raises(ArchiveError):
        archive(landing_zone, file)
    assert b"somebody else's" == bucket.client.get_object(Bucket=bucket.name, Key="processed/a.csv")["Body"].read()
    assert ["incoming/a.csv", "processed/a.csv"] == bucket.keys
