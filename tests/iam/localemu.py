"""localemu as a server for these tests: IAM is enforced, and each decision is written down."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import httpx

from tests.fakes.certificate import make_certificate
from tests.support.servers import REGION, free_port
from tests.support.system import NO_CERTIFICATES
from tests.support.waiting import eventually

ACCOUNT: Final = "000000000000"
"""The account that keys belong to which are no account's number."""
ROOT: Final = "root-of-the-emulator"
"""The access key of whom localemu refuses nothing."""
OTHER_ACCOUNT: Final = "111111111111"
"""An account, and the access key of its root."""

_PROJECT: Final = Path(__file__).parents[2]
_AS_A_SERVICE: Final = "made-up-token-of-services"
_START_SECONDS: Final = 180
_NOT_CHECKED: Final = "made-up"


@dataclass(frozen=True)
class Decision:
    """Whether a role may do what a call needed."""

    role: str
    action: str
    resource: str
    allowed: bool


@dataclass(frozen=True)
class Localemu:
    """A localemu that runs, and what it has decided."""

    port: int
    certificate: Path
    decided: Path

    @property
    def endpoint_url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self, service: Any, session: boto3.Session | None = None, *, tls: bool = True) -> Any:  # noqa: ANN401 - boto3's stubs overload it for every service
        """A client with the keys of that session; without one, a client that may do everything."""
        endpoint_url = self.endpoint_url if tls else f"http://127.0.0.1:{self.port}"
        session = session or session_of(ROOT)
        return session.client(service, endpoint_url=endpoint_url, verify=str(self.certificate))

    def role_taken(self, role_arn: str, service: str = "ecs-tasks") -> boto3.Session:
        """A session with the credentials that a task of that service gets for the role.

        Raises:
            ClientError: the role's trust policy does not let the service have it.
        """
        sts = self.client("sts")

        def as_service(request: Any, **_: object) -> None:  # noqa: ANN401 - of botocore
            request.headers["x-localemu-data"] = json.dumps({"service_principal": service})
            request.headers["x-localemu-data-auth"] = _AS_A_SERVICE

        sts.meta.events.register("before-sign.sts.AssumeRole", as_service)
        keys = sts.assume_role(RoleArn=role_arn, RoleSessionName="task")["Credentials"]
        return session_of(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    def decisions(self, since: int = 0) -> list[Decision]:
        """What was decided about roles, from that number on."""
        lines = self.decided.read_text(encoding="utf-8").splitlines() if self.decided.exists() else []
        return [Decision(**json.loads(line)) for line in lines[since:]]

    def mails(self) -> list[dict[str, Any]]:
        """The emails that SES has taken."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/_aws/ses", verify=NO_CERTIFICATES, timeout=30)
        mails: list[dict[str, Any]] = answer.raise_for_status().json()["messages"]
        return mails


def session_of(key: str, secret: str = _NOT_CHECKED, token: str | None = None) -> boto3.Session:
    return boto3.Session(key, secret, token, region_name=REGION)


@contextmanager
def running_localemu(python: Path, folder: Path) -> Iterator[Localemu]:
    """A localemu of that Python, with its files in the folder; it ends with the block, or with this process."""
    certificate = folder / "certificate.pem"
    make_certificate(certificate)
    with_key = folder / "certificate-with-key.pem"
    with_key.write_bytes(certificate.with_suffix(".key").read_bytes() + certificate.read_bytes())
    localemu = Localemu(free_port(), certificate, folder / "decisions.jsonl")
    here = f"127.0.0.1:{localemu.port}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "GATEWAY_LISTEN": here,
        "LOCALEMU_HOST": here,
        "USE_SSL": "1",
        "CUSTOM_SSL_CERT_PATH": str(with_key),
        "IAM_ENFORCEMENT": "1",
        "ROOT_ACCESS_KEYS": f"{ROOT},{OTHER_ACCOUNT}",
        "LOCALEMU_INTERNAL_AUTH_TOKEN": _AS_A_SERVICE,
        "DECISIONS": str(localemu.decided),
    }
    log = folder / "localemu.log"
    command = [str(python), "-m", "tests.iam.emulator"]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=_PROJECT, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            eventually(lambda: _answers(process, localemu, log), _START_SECONDS, f"localemu, whose log is {log}")
            yield localemu
        finally:
            process.kill()  # it keeps nothing


def _answers(process: subprocess.Popen[bytes], localemu: Localemu, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"localemu ended with {process.returncode}:\n{log.read_text()}")
    try:
        answer = httpx.get(f"http://127.0.0.1:{localemu.port}/_localemu/health", verify=NO_CERTIFICATES, timeout=5)
    except httpx.HTTPError:
        return False
    return answer.is_success
