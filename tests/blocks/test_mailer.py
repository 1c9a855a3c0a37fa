"""One message to all who asked, and nothing in it that somebody else has put there."""

import uuid
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Protocol

import pytest
from botocore.exceptions import ClientError
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import ValidationError

from blocks.aws_clients import client_of
from blocks.domain.errors import AddressUnverifiedError, MailQuotaError
from blocks.mailer import Mailer
from tests.blocks.conftest import Line, refusal
from tests.support.servers import Aws

RECIPIENTS = ["ada@example.com", "bob@example.com"]
HEADERS = {"subject", "from", "to", "content-type", "content-transfer-encoding", "mime-version"}

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class Posted(Protocol):
    """The bytes that SES is given for a subject and a text."""

    def __call__(
        self, subject: str, text: str, html: str | None = None, pictures: dict[str, bytes] | None = None
    ) -> bytes: ...


@pytest.fixture
def mailer(aws: Aws, credentials: AwsCredentials) -> Mailer:
    sender = f"sensors-{uuid.uuid4()}@example.com"
    aws.client("sesv2").create_email_identity(EmailIdentity=sender)
    return Mailer(sender=sender, recipients=RECIPIENTS, credentials=credentials)


@pytest.fixture
def ses_line(credentials: AwsCredentials) -> Line:
    return Line(client_of(credentials, "sesv2"))


@pytest.fixture
def posted(mailer: Mailer, ses_line: Line) -> Iterator[Posted]:
    sent: list[bytes] = []

    def look(params: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - botocore's own
        sent.append(params["Content"]["Raw"]["Data"])

    def post(subject: str, text: str, html: str | None = None, pictures: dict[str, bytes] | None = None) -> bytes:
        mailer.send(subject, text, html, pictures, recipients=RECIPIENTS)
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
        assert mailer.send("sensors.csv: 7 rows loaded", "All of them good.", recipients=RECIPIENTS)
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
        unknown.send("subject", "text", recipients=RECIPIENTS)


def test_a_recipient_that_the_sandbox_does_not_know_is_named_with_the_remedy(mailer: Mailer, ses_line: Line) -> None:
    said = "Email address is not verified. The following identities failed the check in region X: ada@example.com"
    with (
        ses_line.answering("SendEmail", refusal(400, "MessageRejected", said)),
        pytest.raises(AddressUnverifiedError, match=r"region X: ada@example\.com\. .*sandbox"),
    ):
        mailer.send("subject", "text", recipients=RECIPIENTS)


def test_any_other_rejection_is_handed_on_as_it_is(mailer: Mailer, ses_line: Line) -> None:
    with (
        ses_line.answering("SendEmail", refusal(400, "MessageRejected", "a virus")),
        pytest.raises(ClientError, match="a virus"),
    ):
        mailer.send("subject", "text", recipients=RECIPIENTS)


def test_the_text_comes_first_and_the_page_with_its_pictures_as_another_way_to_read_it(posted: Posted) -> None:
    message = read(posted("subject", "text", '<p>é <img src="cid:readings"></p>', {"readings": PNG}))
    assert "multipart/alternative" == message.get_content_type()
    plain, page = message.iter_parts()
    assert ("text/plain", "text") == (plain.get_content_type(), plain.get_content().strip())
    assert "multipart/related" == page.get_content_type()
    html, picture = page.iter_parts()
    assert ("text/html", '<p>é <img src="cid:readings"></p>') == (
        html.get_content_type(),
        html.get_content().strip(),
    )
    assert ("image/png", "<readings>", "inline") == (
        picture.get_content_type(),
        picture["Content-ID"],
        picture.get_content_disposition(),
    )
    assert picture.get_content() == PNG


def test_a_page_without_pictures_and_long_lines_arrives_whole_in_seven_bits(posted: Posted) -> None:
    html = f"<p>{'é😀 x' * 3000}</p>"
    raw = posted("subject", "text", html)
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 998
    _, page = read(raw).iter_parts()
    assert html == page.get_content().strip()


def test_a_page_can_not_add_headers_or_parts(posted: Posted) -> None:
    message = read(posted("a\r\nBcc: eve@example.com", "text", "\r\n\r\n--===============\r\nBcc: eve@example.com"))
    assert message["Bcc"] is None
    assert ["text/plain", "text/html"] == [part.get_content_type() for part in message.iter_parts()]


@pytest.mark.parametrize(("people", "sizes"), [(1, [1]), (50, [50]), (51, [50, 1]), (120, [50, 50, 20])])
def test_everybody_is_in_one_group_of_as_many_as_one_message_has_room_for(people: int, sizes: list[int]) -> None:
    recipients = [f"person-{number}@example.com" for number in range(people)]
    groups = Mailer(sender="sensors@example.com", recipients=recipients).groups()
    assert sizes == [len(group) for group in groups]
    assert recipients == [person for group in groups for person in group]


def test_a_recipient_who_is_named_twice_gets_one_email() -> None:
    assert [RECIPIENTS] == Mailer(sender="sensors@example.com", recipients=RECIPIENTS * 40).groups()


def test_a_message_goes_to_its_group_only(mailer: Mailer, ses_line: Line) -> None:
    told: list[Any] = []

    def look(params: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - botocore's own
        told.append((params["Destination"], read(params["Content"]["Raw"]["Data"])["To"]))

    with ses_line.on("provide-client-params.sesv2.SendEmail", look):
        mailer.send("subject", "text", recipients=["bob@example.com"])
    assert [({"ToAddresses": ["bob@example.com"]}, "bob@example.com")] == told


def test_a_mailer_tells_somebody() -> None:
    with pytest.raises(ValidationError, match="recipients"):
        Mailer(sender="sensors@example.com", recipients=[])


def test_a_used_up_quota_is_explained(mailer: Mailer, ses_line: Line) -> None:
    said = refusal(429, "TooManyRequestsException", "Daily message quota exceeded.")
    with (
        ses_line.answering("SendEmail", said),
        pytest.raises(MailQuotaError, match=r"Daily message.*24 hours.*sandbox"),
    ):
        mailer.send("subject", "text", recipients=RECIPIENTS)


def test_a_rate_that_is_exceeded_is_for_the_next_try(mailer: Mailer, ses_line: Line) -> None:
    said = refusal(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
    with ses_line.answering("SendEmail", said), pytest.raises(ClientError, match="Maximum sending rate"):
        mailer.send("subject", "text", recipients=RECIPIENTS)


def test_ses_is_called_once_as_it_cannot_recognize_a_second_call(mailer: Mailer, aws: Aws) -> None:
    usual = mailer.credentials.model_copy(
        update={"aws_client_parameters": AwsClientParameters(endpoint_url=aws.endpoint_url)}
    )
    patient = Line(client_of(usual, "sesv2"))
    said = refusal(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
    with patient.answering("SendEmail", said), pytest.raises(ClientError, match="Maximum sending rate"):
        mailer.model_copy(update={"credentials": usual}).send("subject", "text", recipients=RECIPIENTS)
    assert 1 == len(patient.calls)
