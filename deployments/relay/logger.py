"""The logger of the relay's modules; the `relay` command sets its level."""

import logging
from typing import Final

log: Final = logging.getLogger("relay")
