"""The mail: who sends it, and who asked for it."""

from email.message import EmailMessage
from email.policy import SMTP
from typing import ClassVar, Final

from pydantic import Field, HttpUrl

from blocks.aws import DOCUMENTATION_URL, LOGO_URL, AwsBlock
from flows.errors import AddressUnverifiedError
from flows.text import printable

# SES promises to carry nothing but 7-bit text. Source: "Sending raw email", Amazon SES developer guide.
_SEVEN_BIT: Final = SMTP.clone(cte_type="7bit")


class Mailer(AwsBlock):
    """Sends mail through Amazon SES.

    Example:
        Tell the recipients something:
        ```python
        from blocks.mailer import Mailer

        mailer = Mailer.load("BLOCK_NAME")
        mailer.send("sensors.csv: 7 rows loaded", "All of them good.")
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor mailer"
    _block_type_slug: ClassVar[str] = "sensor-mailer"
    _description: ClassVar[str] = "Sender and recipients of the mails about sensor files."
    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION_URL
    _logo_url: ClassVar[HttpUrl | None] = LOGO_URL

    sender: str = Field(description="Address that mails come from; SES must have verified it or its domain.")
    # SES takes up to 50 recipients a message. Source: "Service quotas in Amazon SES".
    recipients: list[str] = Field(min_length=1, max_length=50, description="Addresses that are told about files.")

    def send(self, subject: str, text: str) -> str:
        """The message id that SES gave the mail.

        Raises:
            AddressUnverifiedError: SES does not know yet that the sender, or a recipient, wants this.
            PermissionMissingError: SES refused the call.
        """
        client = self._client("sesv2")
        with self._naming_permission("ses", f"identity {self.sender}"):
            try:
                answer = client.send_email(
                    FromEmailAddress=self.sender,
                    Destination={"ToAddresses": self.recipients},
                    Content={"Raw": {"Data": bytes(self._message(subject, text))}},
                )
            except client.exceptions.MessageRejected as error:
                reason = error.response["Error"]["Message"]
                if "not verified" not in reason:
                    raise
                raise AddressUnverifiedError(self.sender, reason) from error
        return answer["MessageId"]

    def _message(self, subject: str, text: str) -> EmailMessage:
        message = EmailMessage(_SEVEN_BIT)
        # A line break in a file's name starts no header of its own.
        message["Subject"] = printable(" ".join(subject.split()))
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message.set_content(text)
        return message
