"""Bodies go out until every item in them has been taken: the story of a load."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from blocks.domain.errors import ThrottledError
from blocks.dynamodb.errors import NoAnswerError, RowRefusedError, TableUnreachableError
from blocks.dynamodb.rate_limiter import Pacer
from blocks.dynamodb.request_bodies import body_of
from blocks.dynamodb.responses import EXPIRED, INVALID, Answer
from blocks.dynamodb.transports import Line

BATCHES_AT_ONCE: Final = 1_000
"""Batches that are waiting, under way or to be sent again: some 3 MB. Reading goes on when there is room among them."""

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Batch:
    """The body of a call, and how often it or what it is left from has come back."""

    body: bytes
    items: int
    attempts: int = 0


@dataclass
class Delivery:
    """Sends bodies on a line, several at a time, at the rate that the table takes."""

    line: Line
    table_name: str
    patience_seconds: float
    connections: int
    on_taken: Callable[[int], object] = lambda _: None
    """Called with the number of items taken so far, after each block of bodies."""
    taken: int = 0

    def run(self, blocks: Iterator[list[bytes]]) -> int:
        """The number of items taken: all of them.

        Raises:
            RowRefusedError: DynamoDB refuses a row for what is in it.
            ThrottledError: nothing was taken for `patience_seconds`, because the capacity is used up.
            TableUnreachableError: nothing was taken for `patience_seconds`, for another reason.
            ClientError: DynamoDB refuses the calls, such as for a missing permission.
        """
        return asyncio.run(self._run(blocks))

    async def _run(self, blocks: Iterator[list[bytes]]) -> int:
        self._pacer = Pacer(time.monotonic())
        self._progress_at = time.monotonic()
        self._ready: asyncio.Queue[Batch] = asyncio.Queue()
        self._room = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._gate = asyncio.Lock()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._start(self._feed(blocks))
        try:
            await self._over
            return self.taken
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.line.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._note_end)
        self._tasks.append(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A worker ends only with an error, so the first task to be done says how the load ends."""
        if task.cancelled() or self._over.done():
            return
        error = task.exception()
        if error:
            self._over.set_exception(error)
        else:
            self._over.set_result(None)

    async def _feed(self, blocks: Iterator[list[bytes]]) -> None:
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            for body in block:
                await self._room.acquire()
                self._ready.put_nowait(Batch(body, body.count(b'{"PutRequest":')))
                if len(self._tasks) <= self.connections:  # so many workers, and the feeder; a small file needs few
                    self._start(self._work())
            await asyncio.to_thread(self.on_taken, self.taken)
        await self._ready.join()

    async def _work(self) -> None:
        while True:
            batch = await self._ready.get()
            async with self._gate:
                if (pause := self._pacer.pause(batch.items, time.monotonic())) > 0:
                    await asyncio.sleep(pause)
            sent_in = self._pacer.sending(batch.items)
            try:
                answer = await self.line.send(batch.body)
            except NoAnswerError as error:
                self._again(batch, TableUnreachableError(self.table_name, str(error), self._without_progress()))
                continue
            await self._settle(batch, answer, sent_in)

    async def _settle(self, batch: Batch, answer: Answer, sent_in: int) -> None:
        if answer.status == 200:  # noqa: PLR2004 - OK
            self._note_taken(batch, answer, sent_in)
        elif answer.throttled:
            self._pacer.answered(sent_in, batch.items, 0, time.monotonic())
            self._again(batch, self._throttled(batch.items))
        elif answer.passing:
            if answer.code in EXPIRED:
                await self.line.renew()
            reason = f"{answer.status} {answer.code} {answer.message}"
            self._again(batch, TableUnreachableError(self.table_name, reason, self._without_progress()))
        elif answer.code == INVALID:
            raise await self._refused_row(batch, answer) or answer.error()
        else:
            raise answer.error()

    def _note_taken(self, batch: Batch, answer: Answer, sent_in: int) -> None:
        now, left = time.monotonic(), answer.unprocessed
        taken = batch.items - len(left)
        self._pacer.answered(sent_in, batch.items, taken, now)
        self.taken += taken
        if taken:
            self._progress_at = now
        if left:
            self._again(Batch(body_of(left, self.table_name), len(left), batch.attempts), self._throttled(len(left)))
        else:
            self._room.release()
            self._ready.task_done()

    def _again(self, batch: Batch, when_over: Exception) -> None:
        """Have the batch sent again after a pause; if nothing was taken for too long, give up."""
        if self._without_progress() > self.patience_seconds:
            raise when_over
        # Full jitter: batches that came back together do not go out together again.
        # Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
        longest = min(FIRST_PAUSE_SECONDS * 2**batch.attempts, LONGEST_PAUSE_SECONDS)
        pause = random.uniform(0, longest)  # noqa: S311 - no secret depends on it
        again = Batch(batch.body, batch.items, batch.attempts + 1)
        asyncio.get_running_loop().call_later(pause, self._put_back, again)

    def _put_back(self, batch: Batch) -> None:
        self._ready.put_nowait(batch)
        self._ready.task_done()  # as what it was before; in this order, for nobody may find that nothing is left

    def _without_progress(self) -> float:
        return time.monotonic() - self._progress_at

    def _throttled(self, items: int) -> ThrottledError:
        return ThrottledError(self.table_name, items, self._without_progress())

    async def _refused_row(self, batch: Batch, answer: Answer) -> RowRefusedError | None:
        """The error that names the row which DynamoDB refuses the whole batch for, if it is one row's fault."""
        puts = json.loads(batch.body)["RequestItems"][self.table_name]
        seen: set[tuple[str, str]] = set()
        for put in puts:
            item = put["PutRequest"]["Item"]
            key = (item["sensor_id"]["S"], item["timestamp"]["N"])
            if key in seen:
                return self._row_error(item, answer)
            seen.add(key)
        for put in puts:
            with suppress(NoAnswerError):  # then boto3's error for the batch has to do
                single = await self.line.send(body_of([put], self.table_name))
                if single.code == INVALID:
                    return self._row_error(put["PutRequest"]["Item"], single)
        return None

    def _row_error(self, item: dict[str, Any], answer: Answer) -> RowRefusedError:
        values = (item["sensor_id"]["S"], item["timestamp"]["N"], item["value"]["N"])
        return RowRefusedError(self.table_name, *values, answer.message)
