"""Dropping a file into the bucket, as anything that delivers files there does."""

from pathlib import Path

import boto3

from blocks.stack_outputs import StackOutputs
from deployments.settings import Settings
from flows.keys import s3_uri


def drop(file: Path, key: str) -> str:
    """The address that the file was uploaded to, under the prefix of incoming files.

    Raises:
        StackMissingError: there is no stack that says which bucket that is.
    """
    outputs = StackOutputs.read(Settings().stack, boto3.client("cloudformation"))
    key = outputs.incoming_prefix + key.removeprefix(outputs.incoming_prefix)
    boto3.client("s3").upload_file(str(file), outputs.bucket_name, key)
    return s3_uri(outputs.bucket_name, key)
