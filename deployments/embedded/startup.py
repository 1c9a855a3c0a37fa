"""The order in which the parts of a stack are started, and what has to be done in between."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Final

from blocks.stack_outputs import StackOutputs
from deployments.embedded.database import find_postgres, sqlite_url
from deployments.embedded.description import StackDescription
from deployments.embedded.emulator import emulator_part, ensure_aws, has_state
from deployments.embedded.parts import Part
from deployments.embedded.prefect_parts import make_process_pool, server_part, start_engines_directly, worker_part
from deployments.embedded.stalled_runs import settle_dead_runs
from deployments.embedded.supervisor import Say, SupervisedPart, Supervisor

Deploy = Callable[[Mapping[str, str]], object]
"""Brings a Prefect server to where runs work; it gets all environment variables of a process that is to do so."""

RELAY_COMMAND: Final = (sys.executable, "-m", "deployments.cli", "relay")


@dataclass(frozen=True)
class Startup:
    """Starts a stack that was planned."""

    stack: StackDescription
    environment: Mapping[str, str]
    """Of the processes that are started."""
    supervisor: Supervisor
    say: Say
    use_postgres: bool = True

    def run(self, deploy: Deploy | None, relay_command: Sequence[str]) -> StackOutputs:
        """What the CloudFormation stack in the emulator consists of, when everything runs.

        AWS and Prefect do not need one another, so they start side by side; so do the worker and the deployments,
        as the work pool, which both need, is there. The relay comes last: an event that it sends before there is an
        automation to notice it would be lost.

        Raises:
            PartFailedError: a part ended, or was not ready in time.
            StackFailedError: the emulator could not make a resource.
        """
        threads = ThreadPoolExecutor(2)
        aws, prefect = threads.submit(self._start_aws), threads.submit(self._start_prefect)
        halves: list[Future[Any]] = [aws, prefect]
        try:
            for half in as_completed(halves):
                half.result()
        except BaseException:
            self.supervisor.give_up()
            raise
        finally:
            threads.shutdown()
        if deploy:
            deploy(self.environment)
        worker = prefect.result()
        worker.wait_until_ready()
        start_engines_directly(self.stack.prefect_api_url)
        worker.watch()
        self.supervisor.launch(self._relay_part(relay_command)).watch()
        return aws.result()

    def _start_aws(self) -> StackOutputs:
        emulator = self.supervisor.launch(emulator_part(self.stack, self.environment))
        emulator.wait_until_ready()
        outputs = ensure_aws(self.stack.aws_endpoint_url)
        if not has_state(self.stack.data_dir):
            # It writes down what it has made only when it stops. Killed before it ever did, it would find its bucket
            # on disk, take it for a stranger's, and make another one.
            emulator.restart()
        emulator.watch(after_restart=lambda: ensure_aws(self.stack.aws_endpoint_url))
        return outputs

    def _start_prefect(self) -> SupervisedPart:
        server = self.supervisor.launch(server_part(self.stack, self._start_database(), self.environment))
        server.wait_until_ready()
        server.watch()
        make_process_pool(self.stack.prefect_api_url)
        settle_dead_runs(self.stack.prefect_api_url, self.say)
        return self.supervisor.launch(worker_part(self.stack, self.environment))

    def _start_database(self) -> str:
        postgres = self.use_postgres and find_postgres(self.stack.data_dir, self.environment, self.say)
        if not postgres:
            return sqlite_url(self.stack.data_dir)
        postgres.prepare()
        part = self.supervisor.launch(postgres.part())
        part.wait_until_ready()
        part.watch()
        return postgres.url

    def _relay_part(self, command: Sequence[str]) -> Part:
        return Part(
            name="relay",
            title="The relay",
            command=command,
            environment=self.environment,
            working_dir=self.stack.data_dir,
            log=self.stack.log_of("relay"),
            stop_within_seconds=30,
        )
