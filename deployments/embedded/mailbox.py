"""The mails that the emulated SES took. What an emulator shows and AWS does not: only demo and tests look here."""

import json
from urllib.request import urlopen

from pydantic import BaseModel, ConfigDict, Field


class Mail(BaseModel):
    """One mail as it arrived."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message_id: str = Field(alias="MessageId")
    to: list[str] = Field(alias="To")
    subject: str = Field(alias="Subject")
    text: str = Field(alias="BodyText")


def mails(endpoint_url: str) -> list[Mail]:
    """All mails of the emulator at that address, in the order in which they were sent."""
    with urlopen(f"{endpoint_url}/_ministack/ses/messages", timeout=10) as answer:  # noqa: S310 - it is http, on loopback
        accounts: dict[str, list[object]] = json.load(answer)["messages"]
    return [Mail.model_validate(message) for messages in accounts.values() for message in messages]
