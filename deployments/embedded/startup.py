"""The order in which the parts of a stack start, and the setup between them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Final

from blocks.stack_outputs import StackOutputs
from deployments.embedded.description import StackDescription
from deployments.embedded.errors import PartFailedError
from deployments.embedded.orphaned_runs import end_orphaned_runs
from deployments.embedded.parts import Log, Part
from deployments.embedded.services.database import find_postgres
from deployments.embedded.services.emulator import emulator_part, ensure_aws, has_state
from deployments.embedded.services.prefect import (
    ENGINE_COMMAND,
    make_process_pool,
    open_to_other_users,
    server_part,
    start_engines_directly,
    worker_part,
)
from deployments.embedded.services.warm_process import warm_part, warm_start_command, warm_status
from deployments.embedded.supervisor import SupervisedPart, Supervisor

Deploy = Callable[[Mapping[str, str]], object]
"""Creates deployments, blocks and automations on the Prefect server that the given environment variables name."""

RELAY_COMMAND: Final = (sys.executable, "-m", "deployments.cli", "relay")


@dataclass(frozen=True)
class Startup:
    """Starts the parts of a described stack."""

    stack: StackDescription
    environment: Mapping[str, str]
    """Environment variables of the parts."""
    supervisor: Supervisor
    log: Log
    use_postgres: bool = True
    warm_starts: bool = True

    def run(self, deploy: Deploy | None, relay_command: Sequence[str]) -> StackOutputs:
        """The outputs of the CloudFormation stack in the emulator, once all parts run.

        AWS and Prefect do not depend on each other, so they start in parallel; so do the worker and `deploy`, which
        both need only the work pool. The relay starts last: an event that it sent before the automation exists would
        be lost.

        Raises:
            PartFailedError: a part ended, or was not ready in time.
            StackFailedError: the emulator could not create a resource.
        """
        with ThreadPoolExecutor(2) as threads:
            aws, prefect = threads.submit(self._start_aws), threads.submit(self._start_prefect)
            futures: list[Future[Any]] = [aws, prefect]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self.supervisor.cancel_starts()
                raise
        if deploy:
            deploy(self.environment)
        warm, worker = prefect.result()
        worker.wait_until_ready()
        start_engines_directly(self.stack, self._run_command())
        worker.watch()
        if warm:
            self._watch_warm_process(warm)
        self.supervisor.run(self._relay_part(relay_command))
        return aws.result()

    def _start_aws(self) -> StackOutputs:
        emulator = self.supervisor.launch(emulator_part(self.stack, self.environment))
        emulator.wait_until_ready()
        outputs = ensure_aws(self.stack)
        if not has_state(self.stack.data_dir):
            # The emulator saves its stack only on a clean stop. If it were killed before the first one, it would find
            # the bucket on disk, belonging to no stack, and create another bucket.
            emulator.restart()
        emulator.watch(after_restart=lambda: ensure_aws(self.stack))
        return outputs

    def _start_prefect(self) -> tuple[SupervisedPart | None, SupervisedPart]:
        """The warm process, if there is to be one, and the worker, both started but not yet ready."""
        if warning := open_to_other_users(self.stack):
            self.log(warning)
        self.supervisor.run(server_part(self.stack, self._start_database(), self.environment))
        make_process_pool(self.stack)
        end_orphaned_runs(self.stack, self.log)
        # Before the worker, so that it is stopped after it: until then it tells launchers how their runs have ended.
        warm = self.supervisor.launch(warm_part(self.stack, self.environment)) if self.warm_starts else None
        return warm, self.supervisor.launch(worker_part(self.stack, self.environment))

    def _run_command(self) -> Sequence[str]:
        return warm_start_command(self.stack) if self.warm_starts else ENGINE_COMMAND

    def _watch_warm_process(self, warm: SupervisedPart) -> None:
        """Nothing depends on it: without it a run takes longer to start."""
        try:
            warm.wait_until_ready()
            problem = warm_status(self.stack).problem
        except (PartFailedError, OSError) as error:
            problem = str(error).splitlines()[0]  # the others are in its log
        if problem:
            self.log(f"runs start without the warm process: {problem} (its log: {warm.part.log_file})")
        warm.watch()

    def _start_database(self) -> str:
        """The URL of the database."""
        postgres = self.use_postgres and find_postgres(self.stack.data_dir, self.environment, self.log)
        if not postgres:
            return f"sqlite+aiosqlite:///{self.stack.data_dir}/prefect/prefect.db"
        postgres.prepare()
        self.supervisor.run(postgres.part())
        return postgres.url

    def _relay_part(self, command: Sequence[str]) -> Part:
        return Part(
            name="relay",
            title="The relay",
            command=command,
            environment=self.environment,
            working_dir=self.stack.data_dir,
            log_file=self.stack.log_file("relay"),
            stop_within_seconds=30,
        )
