"""Dropping files into the bucket, as anything that delivers files there does."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3

from blocks.domain.s3_keys import s3_uri
from blocks.stack_outputs import StackOutputs
from deployments.settings import Settings


def drop(files: Mapping[str, Path]) -> Iterator[str]:
    """The address of each file as soon as it is uploaded under its key, below the prefix of incoming files.

    Raises:
        StackMissingError: there is no stack that says which bucket that is.
    """
    outputs = StackOutputs.read(Settings().stack, boto3.client("cloudformation"))
    s3 = boto3.client("s3")
    for key, file in files.items():
        key_below = outputs.incoming_prefix + key.removeprefix(outputs.incoming_prefix)
        s3.upload_file(str(file), outputs.bucket_name, key_below)
        yield s3_uri(outputs.bucket_name, key_below)
