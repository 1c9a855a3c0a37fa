"""Starts MiniStack behind a guard: `python -m deployments.embedded.services.guarded_emulator`.

MiniStack 1.5.33 answers every origin with `Access-Control-Allow-Origin: *` and takes unsigned requests. Its own switch,
`AUTH=true`, hashes each request and enforces IAM as well. So its application is replaced by one that asks the guard.
"""

import os

import ministack.app

from deployments.embedded.services.guard import KeyHoldersOnly

if __name__ == "__main__":
    ministack.app.app = KeyHoldersOnly(ministack.app.app, os.environ["AWS_ACCESS_KEY_ID"])
    ministack.app.main()
