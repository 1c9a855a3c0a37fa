"""JSON calls by HTTP without an HTTP library, which takes long to import, and without a proxy.

They reach the parts of an embedded stack, and for `status` any Prefect server whose address begins with `http://`.
"""

import json
from base64 import b64encode
from http.client import HTTPException
from typing import Any, Final
from urllib.request import ProxyHandler, Request, build_opener

_OPENER: Final = build_opener(ProxyHandler({}))
_TIMEOUT_SECONDS: Final = 5


def call(
    url: str,
    payload: object = None,
    *,
    method: str | None = None,
    auth_string: str | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> Any:  # noqa: ANN401 - JSON
    """The JSON document in the response; None if it is empty. The method is POST if there is a payload, else GET.

    Raises:
        OSError: no server responds, or it responds with an error.
    """
    data = None if payload is None else json.dumps(payload).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - never a file
    if auth_string:  # a redirect to another server does not get it
        request.add_unredirected_header("Authorization", f"Basic {b64encode(auth_string.encode()).decode()}")
    try:
        with _OPENER.open(request, timeout=timeout_seconds) as response:
            return json.loads(response.read() or "null")
    except HTTPException as error:
        raise OSError(str(error)) from error


def answers(url: str) -> bool:
    """Whether a GET of the address succeeds."""
    try:
        call(url)
    except OSError:
        return False
    return True
