"""The logger of the relay's modules, with one line for each message; the `relay` command sets its level."""

import logging
from typing import Final

from blocks.domain.text import OneLineLog

log: Final = OneLineLog(logging.getLogger("relay"))
