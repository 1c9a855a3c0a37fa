"""Mail through Amazon SES: its sender and its recipients."""

from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from typing import ClassVar, Final

from pydantic import Field

from blocks.aws_block import AwsBlock
from blocks.domain.errors import AddressUnverifiedError, MailQuotaError
from blocks.domain.text import printable

# SES guarantees only 7-bit text. Source: "Sending raw email", Amazon SES developer guide.
_SEVEN_BIT: Final = SMTP.clone(cte_type="7bit")

RECIPIENTS_PER_MESSAGE: Final = 50
"""Source: "Service quotas in Amazon SES"."""

# How the message starts with which SES refuses mail until the daily quota renews itself.
# Source: "Errors related to the sending quotas for your Amazon SES account", Amazon SES developer guide.
_QUOTA_USED_UP: Final = "Daily message quota exceeded"


class Mailer(AwsBlock):
    """Sends mail through Amazon SES.

    Example:
        Send a mail to all recipients:
        ```python
        from blocks.mailer import Mailer

        mailer = Mailer.load("BLOCK_NAME")
        for group in mailer.groups():
            mailer.send("sensors.csv: 7 rows loaded", "All of them good.", recipients=group)
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor mailer"
    _block_type_slug: ClassVar[str] = "sensor-mailer"
    _description: ClassVar[str] = "Sender and recipients of the mails about sensor files."

    sender: str = Field(description="Address that mails come from; SES must have verified it or its domain.")
    recipients: list[str] = Field(
        min_length=1,
        description="Addresses that get the emails. More than 50 get several messages, 50 addresses in each.",
    )

    def groups(self) -> list[list[str]]:
        """All recipients, each once, in groups of at most 50: as many as one message takes."""
        everybody = list(dict.fromkeys(self.recipients))
        return [
            everybody[start : start + RECIPIENTS_PER_MESSAGE]
            for start in range(0, len(everybody), RECIPIENTS_PER_MESSAGE)
        ]

    def send(
        self,
        subject: str,
        text: str,
        html: str | None = None,
        pictures: Mapping[str, bytes] | None = None,
        *,
        recipients: Sequence[str],
    ) -> str:
        """The message id from SES.

        Args:
            subject: the mail has it on one line.
            text: the plain text part.
            html: the HTML part; it shows pictures as `cid:NAME`.
            pictures: PNG files by name.
            recipients: one of `groups`.

        Raises:
            AddressUnverifiedError: SES has not verified the sender or, in the sandbox, a recipient.
            MailQuotaError: the daily quota is used up.
            PermissionMissingError: SES refused the call.
        """
        client = self._client("sesv2")
        with self._naming_permission("ses", f"identity {self.sender}"):
            try:
                answer = client.send_email(
                    FromEmailAddress=self.sender,
                    Destination={"ToAddresses": list(recipients)},
                    Content={"Raw": {"Data": bytes(self._message(subject, text, html, pictures or {}, recipients))}},
                )
            except (client.exceptions.TooManyRequestsException, client.exceptions.LimitExceededException) as error:
                reason = error.response["Error"]["Message"]
                if _QUOTA_USED_UP not in reason:
                    raise  # the rate per second: the call is retried, after the retries of botocore
                raise MailQuotaError(self.sender, reason) from error
            except client.exceptions.MessageRejected as error:
                reason = error.response["Error"]["Message"]
                if "not verified" not in reason:
                    raise
                raise AddressUnverifiedError(self.sender, reason) from error
        return answer["MessageId"]

    def _message(
        self,
        subject: str,
        text: str,
        html: str | None,
        pictures: Mapping[str, bytes],
        recipients: Sequence[str],
    ) -> EmailMessage:
        message = EmailMessage(_SEVEN_BIT)
        # A line break in a file's name must not start another header.
        message["Subject"] = printable(" ".join(subject.split()))
        message["From"] = self.sender
        message["To"] = ", ".join(recipients)
        message.set_content(text)
        if html is not None:
            page = EmailMessage(_SEVEN_BIT)
            page.set_content(html, subtype="html")
            for name, png in pictures.items():
                page.add_related(png, "image", "png", cid=f"<{name}>", disposition="inline", filename=f"{name}.png")
            message.make_alternative()
            message.attach(page)
        return message
