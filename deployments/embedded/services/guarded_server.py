"""Starts the Prefect server behind a guard: `python -m deployments.embedded.services.guarded_server`.

As `prefect server start` does, with its settings. Prefect 3.9.1 has no setting for a middleware or for trusted hosts;
its CORS setting says only who may read answers, not who may send requests or open WebSockets.
"""

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings

from deployments.embedded.services.guard import LocalPagesOnly

if __name__ == "__main__":
    app = create_app(final=True)
    app.add_middleware(LocalPagesOnly)
    server = get_current_settings().server
    uvicorn.run(
        app,
        host=server.api.host,
        port=server.api.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )
