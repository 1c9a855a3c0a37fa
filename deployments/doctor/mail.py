"""Mail: a sender that SES knows, an account that may send, recipients that it may send to."""

from typing import Any, Final

from blocks.mailer import Mailer
from deployments.doctor.findings import Check, Verdict, ok, problem, warning
from deployments.doctor.system import World

_SHARE_LEFT: Final = 0.1
"""Share of the day's mails below which it is time to say so."""

_UNLIMITED: Final = -1
"""How SES says that there is no limit. Source: "SendQuota", Amazon SES API v2 reference."""


def _addresses(world: World) -> tuple[str, list[str]]:
    """Sender and recipients as they are saved; where no block is, as the stack would have them."""
    saved = world.blocks.get(Mailer)
    if isinstance(saved, Mailer):
        return saved.sender, saved.recipients
    return world.outputs.sender_address, list(world.outputs.recipients)


def _is_verified(client: Any, address: str) -> bool:  # noqa: ANN401 - boto3's client
    """Whether SES has the address, or its domain, verified."""
    for identity in (address, address.rpartition("@")[2]):
        try:
            if client.get_email_identity(EmailIdentity=identity)["VerifiedForSendingStatus"]:
                return True
        except client.exceptions.NotFoundException:
            continue
    return False


def _verify(address: str) -> str:
    return (
        f"press the link in the mail that SES sent to {address}; "
        f"aws sesv2 create-email-identity --email-identity {address} sends one"
    )


def sender(world: World) -> Verdict:
    """The address that mails come from."""
    address, _ = _addresses(world)
    if not _is_verified(world.client_of(Mailer, "sesv2"), address):
        return problem(f"SES has neither {address} nor its domain verified, so no mail is sent", _verify(address))
    return ok(f"{address} is verified")


def account(world: World) -> Verdict:
    """What SES lets the account do."""
    found = world.client_of(Mailer, "sesv2").get_account()
    if not found.get("SendingEnabled", True):
        return problem("SES has paused sending for this account", "see the SES console for why, and answer there")
    quota = found["SendQuota"]
    left = quota["Max24HourSend"] - quota["SentLast24Hours"]
    unlimited = quota["Max24HourSend"] == _UNLIMITED
    counted = "no daily limit" if unlimited else f"{left:.0f} of {quota['Max24HourSend']:.0f} mails left today"
    if not unlimited and left < len(_addresses(world)[1]):
        return problem(counted, "wait until older mails are a day old, or ask AWS for a higher sending quota")
    if not found.get("ProductionAccessEnabled"):
        return warning(
            f"SES is in its sandbox, which sends only to verified addresses; {counted}",
            "request production access in the SES console",
        )
    if not unlimited and left < _SHARE_LEFT * quota["Max24HourSend"]:
        return warning(counted, "ask AWS for a higher sending quota")
    return ok(f"production access, {counted}")


def recipients(world: World) -> Verdict:
    """The addresses that mails go to, each of which the sandbox wants verified."""
    client, (_, addresses) = world.client_of(Mailer, "sesv2"), _addresses(world)
    if client.get_account().get("ProductionAccessEnabled"):
        return ok(f"{len(addresses)}; they need not be verified")
    unverified = [address for address in addresses if not _is_verified(client, address)]
    if unverified:
        return problem(f"the sandbox sends nothing to {', '.join(unverified)}", _verify(unverified[0]))
    return ok(f"{len(addresses)}, all verified")


CHECKS: Final = (
    Check("mail sender", sender, ("stack",)),
    Check("mail account", account, ("stack",)),
    Check("mail recipients", recipients, ("mail account",)),
)
