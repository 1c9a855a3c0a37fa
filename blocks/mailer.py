"""The mail: who sends it, and who asked for it."""

from email.message import EmailMessage
from typing import ClassVar

from pydantic import Field, HttpUrl

from blocks.aws import DOCUMENTATION_URL, LOGO_URL, AwsBlock


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
            PermissionMissingError: SES refused the call.
        """
        message = EmailMessage()
        message["Subject"] = " ".join(subject.split())  # a line break in a file's name starts no header of its own
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message.set_content(text)
        with self._naming_permission("ses", f"identity {self.sender}"):
            answer = self._client("sesv2").send_email(
                FromEmailAddress=self.sender,
                Destination={"ToAddresses": self.recipients},
                Content={"Raw": {"Data": bytes(message)}},
            )
        return answer["MessageId"]
