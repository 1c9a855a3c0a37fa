"""DeleteObject with `If-Match`, which S3 takes and localemu 1.3.2 answers with 501."""

from functools import wraps
from typing import Any

from localemu.services.s3.provider import S3Provider, verify_object_equality_precondition_write


def delete_on_condition() -> None:
    """From now on, an object with another ETag stays: localemu answers 412, or 404 where there is none.

    Source: "How to perform conditional deletes", Amazon S3 user guide.
    """
    delete = S3Provider.delete_object

    @wraps(delete)
    def delete_object(provider: Any, context: Any, bucket: str, key: str, **more: Any) -> Any:
        if expected := more.pop("if_match", None):
            _, found = provider._get_cross_account_bucket(context, bucket)
            verify_object_equality_precondition_write(found, key, expected)
        return delete(provider, context, bucket, key, **more)

    S3Provider.delete_object = delete_object
