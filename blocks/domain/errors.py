"""One class per situation. Each carries the evidence and the remedy, and says what a failed load means."""

import copyreg
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from blocks.domain.text import printable

if TYPE_CHECKING:
    from blocks.domain.models import IngestReport, SweepReport


class SensorIngestError(Exception):
    """Base of all errors that this project raises on purpose; its text is written for people.

    The text is one line, also if a key or an answer in it has line breaks: a traceback in a log shows it as it is.
    """

    retryable: ClassVar[bool] = False
    """Whether the step that raised it is tried again in the same run. Most of these errors would only come again."""

    blames_file: ClassVar[bool] = False
    """Whether a load that ended with it counts against the file: after too many, the file moves to `failed/`."""

    permanent: ClassVar[bool] = False
    """Whether no later load of the same version could end otherwise: the file is settled as `failed` at once."""

    lines: ClassVar[bool] = False
    """Whether the text has several lines on purpose. Nothing in it is from a file, its key, or an answer to a load."""

    def __init__(self, text: str) -> None:
        super().__init__("\n".join(map(printable, text.split("\n"))) if self.lines else printable(text))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with its text, as `__init__` takes other arguments: the process of a shard sends it to the run."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined] # typeshed has it not


class IngestFailedError(SensorIngestError):
    """No file of a run could be dealt with. It carries the run's report, which says why for each of them."""

    def __init__(self, headline: str, report: "IngestReport") -> None:
        super().__init__(headline)
        self.report = report


class SweepFailedError(SensorIngestError):
    """Some steps of a sweep failed; the others were done. It carries the report of those."""

    def __init__(self, failed: Mapping[str, str], report: "SweepReport") -> None:
        reasons = "; ".join(f"{step}: {problem}" for step, problem in failed.items())
        super().__init__(
            f"{len(failed)} step(s) of the sweep failed, the others were done. {reasons}. The next sweep tries again."
        )
        self.report = report


class ObjectMissingError(SensorIngestError):
    """The object was announced, but does not exist."""

    retryable = True  # the event can be faster than S3

    def __init__(self, uri: str, waited_seconds: float) -> None:
        super().__init__(
            f"{uri} does not exist (looked for {waited_seconds:g} s). Was it deleted or moved after it was dropped?"
        )


class ObjectReplacedError(SensorIngestError):
    """The object has another version than the one that was claimed, or is gone."""

    def __init__(self, uri: str, version: str | None) -> None:
        self.uri = uri
        super().__init__(
            f"{uri} does not have the version {version} any more: a newer one has replaced it, or it is gone."
        )


class PermissionMissingError(SensorIngestError):
    """AWS refused a call. Waiting does not help: a person has to grant the permission."""

    def __init__(self, permission: str, resource: str, block: str) -> None:
        super().__init__(
            f"AWS refused {permission} on {resource}. Grant it to the credentials of the block {block!r} "
            "(deployments/aws/stack.yaml has the policy that runs need), then start the run again."
        )


class CredentialsInvalidError(SensorIngestError):
    """The AWS credentials contain a character that no HTTP header may have. The text does not show them."""

    def __init__(self) -> None:
        super().__init__(
            "The AWS access key or session token contains a line break or another control character, so no request can "
            "be signed with it. It was probably copied with one: set it again where it comes from (the block of the "
            "credentials, AWS_SESSION_TOKEN, or the file of credentials)."
        )


class BlockMissingError(SensorIngestError):
    """The Prefect server has no block of that name: this environment was never deployed to it."""

    def __init__(self, block: str, api: str) -> None:
        super().__init__(
            f"The Prefect server at {api} has no block {block!r}, which says what this environment is. "
            "`sensor-ingest deploy` saves it."
        )


class BlockInvalidError(SensorIngestError):
    """A saved block has an invalid field: the Prefect UI saves values that the block refuses."""

    def __init__(self, block: str, problems: Iterable[str]) -> None:
        super().__init__(
            f"The block {block!r} on the Prefect server cannot be used: {'; '.join(problems)}. Edit it in the Prefect "
            "UI (Blocks). Until then files wait in incoming/, and no load counts as failed."
        )


class ApiMissingError(SensorIngestError):
    """No Prefect server is named."""

    def __init__(self) -> None:
        super().__init__(
            "PREFECT_API_URL is not set, so there is no Prefect server whose runs this could be about. "
            '`eval "$(sensor-ingest env)"` sets it for the embedded stack; for a server of your own it ends in /api.'
        )


class ApiRefusedError(SensorIngestError):
    """The Prefect server is there, and does not take the credentials of this process."""

    def __init__(self, api: str, *, auth_string_is_set: bool) -> None:
        mistake = "is another than the server's" if auth_string_is_set else "is not set"
        super().__init__(
            f"The Prefect server at {api} answers 401 Unauthorized: PREFECT_API_AUTH_STRING {mistake}. "
            "Set it to what the server has as PREFECT_SERVER_API_AUTH_STRING; for Prefect Cloud set PREFECT_API_KEY."
        )


class DeploymentMissingError(SensorIngestError):
    """The Prefect server has no deployment of that name, so an event for it would start no run."""

    def __init__(self, deployment: str) -> None:
        super().__init__(
            f"The Prefect server has no deployment {deployment}, so files stay in the queue until it has. "
            "`sensor-ingest deploy` makes it."
        )


class EmailClaimedElsewhereError(SensorIngestError):
    """Another run is sending this email right now."""

    def __init__(self, email_id: str, lease_until: str) -> None:
        super().__init__(f"The email {email_id} is being sent by another run, which holds it until {lease_until}.")


class LeaseLostError(SensorIngestError):
    """The lease of this run on the file has ended while it wrote: another run may own the file by now."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(
            f"{uri}: this run stopped, because {reason}. Another run may own the file by now. "
            "There is nothing to do: whichever run owns the file loads it, or the next one that claims it does."
        )


class ArchiveError(SensorIngestError):
    """The copy of an object is not whole, or has no place to go, so the original stays where it is."""

    blames_file = True


class ArchivedFileRefusedError(SensorIngestError):
    """An archived file is loaded again, and its feed, which has changed since the first load, refuses it."""

    def __init__(self, uri: str, refusal: str) -> None:
        super().__init__(
            f"{uri} was loaded and is archived, but its feed would refuse it now: {refusal.rstrip('.')}. Nothing was "
            "written, and the rows of its first load are in the table. Correct the feed, then load the file again."
        )


class KeyTooLongError(SensorIngestError):
    """The full key of the file does not fit under another prefix, so the file could be loaded, but not moved."""

    blames_file = True
    permanent = True

    def __init__(self, prefix: str, key_bytes: int, longest: int) -> None:
        super().__init__(
            f"The key is {key_bytes - longest:,} byte(s) too long: under {prefix} it would have {key_bytes:,} bytes, "
            f"and S3 allows {longest:,}. Upload the file under a shorter key."
        )


class ThrottledError(SensorIngestError):
    """DynamoDB kept returning items unprocessed until the time limit."""

    def __init__(self, table: str, unprocessed: int, waited_seconds: float) -> None:
        super().__init__(
            f"Table {table} still returned {unprocessed} items unprocessed after {waited_seconds:.0f} s of back-off. "
            "Its write capacity is used up; the run can be started again, every step may be repeated."
        )


class AddressUnverifiedError(SensorIngestError):
    """SES sends no mail for an address until its owner has followed the link that SES sent."""

    def __init__(self, sender: str, reason: str) -> None:
        super().__init__(
            f"SES did not take the mail from {sender}: {reason.strip().rstrip('.')}. "
            "`aws sesv2 create-email-identity --email-identity ADDRESS` has SES send the link; the sender needs it "
            "always, and each recipient does while the account is in the SES sandbox."
        )


class MailQuotaError(SensorIngestError):
    """SES has taken as many mails in the last 24 hours as the account may send."""

    def __init__(self, sender: str, reason: str) -> None:
        super().__init__(
            f"SES did not take the mail from {sender}: {reason.strip().rstrip('.')}. The quota renews itself over 24 "
            "hours: run the notify run again then. An account in the SES sandbox may send 200 mails a day; "
            "`aws sesv2 get-account` shows the quota, and the SES console is where to ask for more."
        )


class StackMissingError(SensorIngestError):
    """No CloudFormation stack of that name, created from this project's template, exists in the region."""

    remedy = (
        "`aws cloudformation deploy --template-file deployments/aws/stack.yaml --stack-name {stack} "
        "--capabilities CAPABILITY_IAM --parameter-overrides SenderAddress=… Recipients=…` creates it; "
        "`sensor-ingest up` does so for the embedded stack."
    )

    def __init__(self, stack: str, region: str, endpoint: str, missing_outputs: Iterable[str] = ()) -> None:
        missing = ", ".join(missing_outputs)
        problem = f"has no output {missing}: another or an older template created it" if missing else "does not exist"
        super().__init__(
            f"The CloudFormation stack {stack!r} {problem} (region {region}, {endpoint}). "
            f"Check the region, the credentials and the name. {self.remedy.format(stack=stack)}"
        )


class EcsStackMissingError(StackMissingError):
    """No CloudFormation stack of that name, created from the template for ECS, exists in the region."""

    remedy = "deployments/aws/ecs.yaml creates it, see docs/how-to/run-it-in-aws.md."


class PoolTypeError(SensorIngestError):
    """The work pool is there, with a type that cannot be changed any more."""

    def __init__(self, pool: str, found: str, wanted: str) -> None:
        super().__init__(
            f"The work pool {pool} is of type {found}, not {wanted}, and a pool keeps its type. Once no run is left in "
            f"it: prefect work-pool delete {pool}, then deploy again."
        )


class StackFailedError(SensorIngestError):
    """CloudFormation could not create or update the stack."""

    lines = True

    def __init__(self, stack: str, status: str, reasons: Iterable[str]) -> None:
        super().__init__("\n  ".join([f"The CloudFormation stack {stack!r} is {status}:", *reasons]))


class ShardsDifferError(SensorIngestError):
    """A file that is written in shards was not the same for all of them, so its rows are not all in the table."""

    def __init__(self, uri: str, found: str, expected: str) -> None:
        super().__init__(
            f"{uri} was not the same for all of its shards: {found}; expected {expected}. Do all machines run the same "
            "version of sensor-ingest? The run can be started again, every step may be repeated."
        )


class DaskMissingError(SensorIngestError):
    """Large files are to be written by Dask, and what talks to it is not installed where the run is."""

    def __init__(self) -> None:
        super().__init__(
            "large_files says dask, but prefect-dask is not installed here. `pip install 'sensor-ingest[dask]'` does "
            "that, on the workers of the cluster too; or have large_files say threads or processes."
        )
