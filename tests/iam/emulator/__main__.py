"""Starts localemu: on loopback, also on an older Python, with IAM as AWS has it (`authorization.py`)."""

import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.internet import endpoints

from tests.iam.emulator.older_python import read_in_older_words


def listen_on_loopback() -> None:
    """localemu listens on all interfaces, whatever `GATEWAY_LISTEN` says."""
    made = endpoints.TCP4ServerEndpoint.__init__

    def on_loopback(endpoint: Any, reactor: Any, port: int, **options: Any) -> None:
        made(endpoint, reactor, port, **{**options, "interface": "127.0.0.1"})

    endpoints.TCP4ServerEndpoint.__init__ = on_loopback


def end_with_the_parent() -> None:
    """The parent has the other end of the standard input, which is closed when it ends, however it does."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    Thread(target=end_with_the_parent, daemon=True).start()
    read_in_older_words()
    listen_on_loopback()
    from localemu.runtime.main import main

    from tests.iam.emulator.authorization import decide_as_aws, note_decisions
    from tests.iam.emulator.conditional_delete import delete_on_condition

    delete_on_condition()
    decide_as_aws()
    note_decisions(Path(os.environ["DECISIONS"]))
    main()
