"""Checks of the email: verified sender, SES account, verified recipients."""

from typing import Any, Final

from blocks.mailer import Mailer
from deployments.doctor.check_results import Check, CheckResult, ok, problem, warning
from deployments.doctor.system import InspectedSystem

_LOW_QUOTA: Final = 0.1
"""Share of the daily quota below which the check warns."""

_UNLIMITED: Final = -1
"""SES's value for an unlimited quota. Source: "SendQuota", Amazon SES API v2 reference."""


def _addresses(system: InspectedSystem) -> tuple[str, list[str]]:
    """Sender and recipients of the saved block; if none is saved, those of the stack."""
    saved = system.blocks.get(Mailer)
    if isinstance(saved, Mailer):
        return saved.sender, saved.recipients
    return system.outputs.sender_address, list(system.outputs.recipients)


def _is_verified(client: Any, address: str) -> bool:  # noqa: ANN401 - boto3's client
    """Whether the address or its domain is verified in SES."""
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


def sender(system: InspectedSystem) -> CheckResult:
    """SES has verified the sender."""
    address, _ = _addresses(system)
    if not _is_verified(system.client_of(Mailer, "sesv2"), address):
        return problem(f"SES has verified neither {address} nor its domain, so no mail is sent", _verify(address))
    return ok(f"{address} is verified")


def account(system: InspectedSystem) -> CheckResult:
    """The SES account may send, outside the sandbox, with enough quota left."""
    found = system.client_of(Mailer, "sesv2").get_account()
    if not found.get("SendingEnabled", True):
        return problem("SES has paused sending for this account", "see the SES console for the reason, and reply there")
    quota = found["SendQuota"]
    left = quota["Max24HourSend"] - quota["SentLast24Hours"]
    unlimited = quota["Max24HourSend"] == _UNLIMITED
    quota_left = "no daily limit" if unlimited else f"{left:.0f} of {quota['Max24HourSend']:.0f} mails left today"
    if not unlimited and left < len(_addresses(system)[1]):
        return problem(quota_left, "wait until the quota renews (24 hours), or ask AWS for a higher sending quota")
    if not found.get("ProductionAccessEnabled"):
        return warning(
            f"SES is in its sandbox, which sends only to verified addresses; {quota_left}",
            "request production access in the SES console",
        )
    if not unlimited and left < _LOW_QUOTA * quota["Max24HourSend"]:
        return warning(quota_left, "ask AWS for a higher sending quota")
    return ok(f"production access, {quota_left}")


def recipients(system: InspectedSystem) -> CheckResult:
    """SES has verified the recipients, if the account is in the sandbox."""
    client, (_, addresses) = system.client_of(Mailer, "sesv2"), _addresses(system)
    if client.get_account().get("ProductionAccessEnabled"):
        return ok(f"{len(addresses)}; outside the sandbox they need no verification")
    unverified = [address for address in addresses if not _is_verified(client, address)]
    if unverified:
        return problem(f"the sandbox sends nothing to {', '.join(unverified)}", _verify(unverified[0]))
    return ok(f"{len(addresses)}, all verified")


CHECKS: Final = (
    Check("mail sender", sender, ("stack",)),
    Check("mail account", account, ("stack",)),
    Check("mail recipients", recipients, ("mail account",)),
)
