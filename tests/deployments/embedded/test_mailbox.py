"""The command that prints the emails of the emulator."""

import pytest

from deployments.embedded.services import mailbox


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"], ids=["nothing is set", "nothing answers"])
def test_without_a_stack_the_command_says_how_to_reach_one(
    endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(SystemExit, match=r"no embedded stack answers: .* in this shell `eval"):
        mailbox.main()


def test_without_an_email_the_command_says_where_the_next_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "of a stack")
    monkeypatch.setattr(mailbox, "mails", lambda *_: [])
    with pytest.raises(SystemExit, match="no email has been sent yet; `sensor-ingest status` says when"):
        mailbox.main()
