"""One message to all who asked, and nothing in it that somebody else has put there."""

import uuid
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from botocore.exceptions import ClientError
from prefect_aws.credentials import AwsCredentials
from pydantic import ValidationError

from blocks.mailer import Mailer
from flows.errors import AddressUnverifiedError
from tests.blocks.conftest import Line, refusal
from tests.conftest import Aws

RECIPIENTS = ["ada@example.com", "bob@example.com"]
HEADERS = {"subject", "from", "to", "content-type", "content-transfer-encoding", "mime-version"}

Posted = Callable[[str, str], bytes]
"""The bytes that SES is given for a subject and a text."""


@pytest.fixture
def mailer(aws: Aws, credentials: AwsCredentials) -> Mailer:
    sender = f"sensors-{uuid.uuid4()}@example.com"
    aws.client("sesv2").create_email_identity(EmailIdentity=sender)
    return Mailer(sender=sender, recipients=RECIPIENTS, credentials=credentials)


@pytest.fixture
def ses_line(credentials: AwsCredentials) -> Line:
    return Line(credentials.get_client("sesv2"))


@pytest.fixture
def posted(mailer: Mailer, ses_line: Line) -> Iterator[Posted]:
    sent: list[bytes] = []

    def look(params: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - botocore's own
        sent.append(params["Content"]["Raw"]["Data"])

    def post(subject: str, text: str) -> bytes:
        mailer.send(subject, text)
        return sent.pop()

    with ses_line.on("provide-client-params.sesv2.SendEmail", look):
        yield post


def read(raw: bytes) -> EmailMessage:
    """The message as a mail program reads it."""
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def test_all_recipients_get_one_message(mailer: Mailer, ses_line: Line) -> None:
    with ses_line.answering("SendEmail"):
        assert mailer.send("sensors.csv: 7 rows loaded", "All of them good.")
    assert 1 == len(ses_line.calls)


def test_the_message_says_what_was_asked_for_from_whom_and_to_whom(mailer: Mailer, posted: Posted) -> None:
    message = read(posted("sensors.csv: 7 rows loaded", "All of them good.\nReally.\n"))
    assert "sensors.csv: 7 rows loaded" == message["Subject"]
    assert mailer.sender == message["From"]
    assert ", ".join(RECIPIENTS) == message["To"]
    assert "All of them good.\nReally.\n" == message.get_content().replace("\r\n", "\n")


@pytest.mark.parametrize("subject", ["Zürich.csv: 7 rows loaded", "测试 😀.csv: refused", "é" * 300, "n" * 2000])
def test_a_subject_arrives_as_it_was_written_however_long_or_foreign_it_is(posted: Posted, subject: str) -> None:
    raw = posted(subject, "text")
    assert subject == read(raw)["Subject"]
    assert max(map(len, raw.splitlines())) <= 998


@pytest.mark.parametrize(
    "subject",
    [
        "a\r\nBcc: eve@example.com\r\n\r\nforged",
        "a\nBcc: eve@example.com",
        "a\rBcc: eve@example.com",
        "a\u2028Bcc: eve@example.com",
        "a\x85Bcc: eve@example.com",
        "a\x0bBcc: eve@example.com",
        "a\x00\x1b[31mBcc: eve@example.com",
        f"{'x ' * 200}\r\n\tBcc: eve@example.com",
    ],
)
def test_a_subject_can_add_neither_headers_nor_text(posted: Posted, subject: str) -> None:
    message = read(posted(subject, "text"))
    assert HEADERS == {name.lower() for name in message}
    assert "text" == message.get_content().strip()
    assert message["Subject"].isprintable()
    assert message["Subject"].endswith("Bcc: eve@example.com") or message["Subject"].endswith("forged")


@pytest.mark.parametrize("text", ["plain", "Zürich 测试 😀", "x" * 5000, "\n.\n.\r\nFrom me\n"])
def test_a_text_arrives_whole_in_seven_bits_and_lines_that_mail_servers_take(posted: Posted, text: str) -> None:
    raw = posted("subject", text)
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 998
    assert text.split() == read(raw).get_content().split()


def test_a_sender_that_ses_does_not_know_is_named_with_the_remedy(mailer: Mailer) -> None:
    unknown = mailer.model_copy(update={"sender": "nobody@example.org"})
    with pytest.raises(AddressUnverifiedError, match=r"nobody@example\.org: .*not verified.*create-email-identity"):
        unknown.send("subject", "text")


def test_a_recipient_that_the_sandbox_does_not_know_is_named_with_the_remedy(mailer: Mailer, ses_line: Line) -> None:
    said = "Email address is not verified. The following identities failed the check in region X: ada@example.com"
    with (
        ses_line.answering("SendEmail", refusal(400, "MessageRejected", said)),
        pytest.raises(AddressUnverifiedError, match=r"region X: ada@example\.com\. .*sandbox"),
    ):
        mailer.send("subject", "text")


def test_any_other_rejection_is_handed_on_as_it_is(mailer: Mailer, ses_line: Line) -> None:
    with (
        ses_line.answering("SendEmail", refusal(400, "MessageRejected", "a virus")),
        pytest.raises(ClientError, match="a virus"),
    ):
        mailer.send("subject", "text")


@pytest.mark.parametrize("recipients", [[], ["ada@example.com"] * 51])
def test_there_are_as_many_recipients_as_ses_takes_and_at_least_one(recipients: list[str]) -> None:
    with pytest.raises(ValidationError, match="recipients"):
        Mailer(sender="sensors@example.com", recipients=recipients)
