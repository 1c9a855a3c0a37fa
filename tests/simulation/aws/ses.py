"""A fake of SES: it records the mails that it took."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tests.simulation.aws.service import FakeService
from tests.simulation.network import Network

if TYPE_CHECKING:
    from tests.simulation.processes import Process


@dataclass(frozen=True)
class Mail:
    """A mail that SES took."""

    at: float
    """Seconds of true time since the start."""
    process: str
    """The process that sent it; empty for the test itself."""
    recipients: tuple[str, ...]
    content: bytes


class Ses(FakeService):
    """The second version of the API. All addresses are verified."""

    name = "sesv2"
    parameters: ClassVar[Mapping[str, frozenset[str]]] = {
        "send_email": frozenset({"FromEmailAddress", "Destination", "Content"})
    }

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.mails: list[Mail] = []
        self.refused: Callable[[Mapping[str, Any]], tuple[str, str] | None] = lambda _: None
        """Code and message of the error for a call; None if SES takes the mail."""
        self.on_mail: list[Callable[[Process, Mail], object]] = []
        """Called with the process that sent a mail, and the mail."""

    def send_email(self, call: Mapping[str, Any]) -> dict[str, Any]:
        if refused := self.refused(call):
            raise self.error("send_email", *refused)
        caller = self.network.caller
        recipients = tuple(call["Destination"]["ToAddresses"])
        content = call["Content"]["Raw"]["Data"]
        self.mails.append(Mail(self.scheduler.now, caller.name if caller else "", recipients, content))
        if caller:
            for watch in self.on_mail:
                watch(caller, self.mails[-1])
        return self.answer(MessageId=f"mail-{len(self.mails)}")
