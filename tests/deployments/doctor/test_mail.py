"""No email: what the doctor finds about SES and the mailer."""

from blocks.mailer import Mailer
from blocks.saved_blocks import BLOCK_NAME, find_block
from tests.deployments.doctor.problems import AnsweringSystem, assert_problem, assert_warning, repaired_by
from tests.support.deployed_system import DeployedSystem


def account(*, production: bool, sent: float = 0, enabled: bool = True) -> AnsweringSystem:
    quota = {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": sent}
    answer = {"ProductionAccessEnabled": production, "SendingEnabled": enabled, "SendQuota": quota}
    return AnsweringSystem("GetAccount", 200, answer)


def test_a_sender_that_is_not_verified_or_not_registered_in_ses(deployed_system: DeployedSystem) -> None:
    ses = deployed_system.aws.client("sesv2")
    pending = AnsweringSystem("GetEmailIdentity", 200, {"VerifiedForSendingStatus": False})
    assert_problem(deployed_system.result_of("mail sender", pending), "no mail is sent", "press the link")
    ses.delete_email_identity(EmailIdentity="doctor@example.com")
    with repaired_by(lambda: ses.create_email_identity(EmailIdentity="doctor@example.com")):
        found = deployed_system.result_of("mail sender")
    assert_problem(found, "doctor@example.com", "aws sesv2 create-email-identity --email-identity doctor@example.com")


def test_an_account_in_the_sandbox_sends_only_to_verified_recipients(deployed_system: DeployedSystem) -> None:
    results = deployed_system.results_of("mail recipients", system=account(production=False))
    assert_warning(results["mail account"], "sandbox", "request production access")
    assert_problem(results["mail recipients"], "ada@example.com", "create-email-identity")


def test_an_account_whose_quota_is_used_up_or_that_is_paused(deployed_system: DeployedSystem) -> None:
    assert_problem(deployed_system.result_of("mail account", account(production=True, sent=200)), "0 of 200", "quota")
    assert_warning(deployed_system.result_of("mail account", account(production=True, sent=190)), "10 of 200", "quota")
    assert_problem(
        deployed_system.result_of("mail account", account(production=True, enabled=False)), "paused", "console"
    )


def test_a_sender_that_differs_from_the_stack(deployed_system: DeployedSystem) -> None:
    saved = find_block(Mailer)
    assert saved is not None
    saved.model_copy(update={"sender": "else@example.com"}).save(BLOCK_NAME, overwrite=True)
    with repaired_by(lambda: saved.save(BLOCK_NAME, overwrite=True)):
        found = deployed_system.result_of("block sensor-mailer contents")
    assert_warning(found, "else@example.com", "SenderAddress")
