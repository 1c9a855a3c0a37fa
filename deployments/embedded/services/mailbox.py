"""Mails that the emulated SES has accepted. AWS has no such list: the demo and tests use it.

    python -m deployments.embedded.services.mailbox

prints the recipients and the subject of each, of the stack that `sensor-ingest env` names.
"""

import json
import os
import sys
from urllib.request import Request, urlopen

from pydantic import BaseModel, ConfigDict, Field


class Mail(BaseModel):
    """One mail."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message_id: str = Field(alias="MessageId")
    to: list[str] = Field(alias="To")
    subject: str = Field(alias="Subject")
    text: str = Field(alias="BodyText")


def mails(endpoint_url: str, access_key: str) -> list[Mail]:
    """All mails of the emulator, in the order in which they were sent."""
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={access_key}"}
    request = Request(f"{endpoint_url}/_ministack/ses/messages", headers=headers)  # noqa: S310 - it is http, on loopback
    with urlopen(request, timeout=10) as response:  # noqa: S310 - as above
        accounts: dict[str, list[object]] = json.load(response)["messages"]
    return [Mail.model_validate(message) for messages in accounts.values() for message in messages]


def main() -> None:
    """Print each mail; exits with the remedy if there is none, no stack runs, or the environment names none."""
    try:
        found = mails(os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_ACCESS_KEY_ID"])
    except (KeyError, OSError):
        sys.exit('no embedded stack answers: `sensor-ingest up`, and in this shell `eval "$(sensor-ingest env)"`')
    if not found:
        sys.exit("no email has been sent yet; `sensor-ingest status` says when the next one is due")
    for mail in found:
        print(f"to {', '.join(mail.to)}: {mail.subject}")


if __name__ == "__main__":
    main()
