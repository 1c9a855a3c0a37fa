"""Mails that the emulated SES has accepted. AWS has no such list: only the demo and tests use it."""

import json
from urllib.request import urlopen

from pydantic import BaseModel, ConfigDict, Field


class Mail(BaseModel):
    """One mail."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message_id: str = Field(alias="MessageId")
    to: list[str] = Field(alias="To")
    subject: str = Field(alias="Subject")
    text: str = Field(alias="BodyText")


def mails(endpoint_url: str) -> list[Mail]:
    """All mails of the emulator, in the order in which they were sent."""
    with urlopen(f"{endpoint_url}/_ministack/ses/messages", timeout=10) as response:  # noqa: S310 - it is http, on loopback
        accounts: dict[str, list[object]] = json.load(response)["messages"]
    return [Mail.model_validate(message) for messages in accounts.values() for message in messages]
