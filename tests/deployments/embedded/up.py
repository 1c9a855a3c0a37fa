"""`sensor-ingest up` without deployments, as a process that tests can stop or kill."""

import sys
from pathlib import Path

from deployments.embedded import EmbeddedStack

IDLE = (sys.executable, "-c", "import signal; signal.pause()")

if __name__ == "__main__":
    with EmbeddedStack(Path(sys.argv[1]), relay_command=IDLE) as stack:
        stack.wait_forever()
