"""Starts the Prefect server behind a guard: `python -m deployments.embedded.services.guarded_server`.

As `prefect server start` does, with its settings. Prefect 3.9.1 has no setting for a middleware or for trusted hosts;
its CORS setting says only who may read answers, not who may send requests or open WebSockets.

No page can be asked for a key, and a person should not be asked for a password. So the guard takes connections of this
process's user, and of root, where the system says whose they are: this is how PostgreSQL's `peer` authentication works.
"""

import asyncio
import os

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from deployments.embedded.services.guard import LocalPagesOnly
from deployments.embedded.services.peers import can_tell, user_of

USERS = {os.geteuid(), 0, int(os.environ.get("SUDO_UID", "0"))}
"""A person who starts the stack with sudo has a browser without it."""


class OwnConnections(AutoHTTPProtocol):  # type: ignore[misc,valid-type] # it is what uvicorn chose
    """HTTP on connections of these users; others are closed before anything is read."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        user = None
        try:
            user = user_of(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        finally:  # asyncio goes on with a connection when this method raises
            if user not in USERS:
                transport.abort()


if __name__ == "__main__":
    server = get_current_settings().server
    uvicorn.run(
        # Around the application, not in it: automations call the application itself, without a network.
        LocalPagesOnly(create_app(final=True)),
        host=server.api.host,
        port=server.api.port,
        http=OwnConnections if can_tell(os.geteuid()) else "auto",
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )
