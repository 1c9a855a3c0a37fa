"""Sends batches until DynamoDB has acknowledged every item: the story of a load."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from blocks.domain.errors import ThrottledError
from blocks.domain.models import NOT_SHOWN
from blocks.dynamodb.errors import NoResponseError, RowRefusedError, TableUnreachableError
from blocks.dynamodb.rate_limiter import RateLimiter
from blocks.dynamodb.request_bodies import body_of
from blocks.dynamodb.responses import EXPIRED, INVALID, Response
from blocks.dynamodb.transports import Transport

BATCHES_IN_MEMORY: Final = 1_000
"""Batches that wait, are in flight, or are in back-off: about 3 MB. Reading pauses while there are so many."""

BYTES_IN_MEMORY: Final = 32 * 2**20
"""The most bytes of these batches, but for a single larger one: an item may have 400 KB."""

SHOWN_CHARACTERS: Final = 1_000
"""Characters of a row that an error shows."""

FIRST_BACK_OFF_SECONDS: Final = 0.05
LONGEST_BACK_OFF_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Batch:
    """The body of a call, and how many calls for its items were not acknowledged in full."""

    body: bytes
    items: int
    attempts: int = 0
    counted_bytes: int = 0
    """Its share of `BYTES_IN_MEMORY`, also while only a part of its items is left."""


@dataclass
class BatchWriter:
    """Sends request bodies over a transport, several at a time, at the rate that the table accepts."""

    transport: Transport
    table_name: str
    patience_seconds: float
    connections: int
    on_progress: Callable[[int], object] = lambda _: None
    """Called with the number of items acknowledged so far, after each block of bodies."""
    key: tuple[str, ...] = ()
    """The attributes of the key, to find two items with one key; none if they are not known."""
    show_rows: bool = True
    """Whether an error about a row shows it, and what DynamoDB says about it."""
    acknowledged: int = 0

    def run(self, blocks: Iterator[list[bytes]]) -> int:
        """The number of items acknowledged: all of them.

        Raises:
            RowRefusedError: DynamoDB refuses the content of a row.
            ThrottledError: no item was acknowledged for `patience_seconds`, because the table throttles.
            TableUnreachableError: no item was acknowledged for `patience_seconds`, for another reason.
            ClientError: DynamoDB refuses the calls, for example because a permission is missing.
        """
        return asyncio.run(self._run(blocks))

    async def _run(self, blocks: Iterator[list[bytes]]) -> int:
        self._limiter = RateLimiter(time.monotonic())
        self._progress_at = time.monotonic()
        self._ready: asyncio.Queue[Batch] = asyncio.Queue()
        self._capacity = asyncio.Semaphore(BATCHES_IN_MEMORY)
        self._bytes_in_memory, self._released = 0, asyncio.Event()
        self._send_lock = asyncio.Lock()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._start(self._read(blocks))
        try:
            await self._ended
            return self.acknowledged
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.transport.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._on_end)
        self._tasks.append(task)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """A sender ends only with an error, so the first task that ends decides how the load ends."""
        if task.cancelled() or self._ended.done():
            return
        error = task.exception()
        if error:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _read(self, blocks: Iterator[list[bytes]]) -> None:
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            for body in block:
                await self._wait_for_room(len(body))
                self._ready.put_nowait(Batch(body, body.count(b'{"PutRequest":'), counted_bytes=len(body)))
                if len(self._tasks) <= self.connections:  # one task reads, the others send; a small file needs few
                    self._start(self._send_batches())
            await asyncio.to_thread(self.on_progress, self.acknowledged)
        await self._ready.join()

    async def _wait_for_room(self, size: int) -> None:
        await self._capacity.acquire()
        while self._bytes_in_memory and self._bytes_in_memory + size > BYTES_IN_MEMORY:
            self._released.clear()
            await self._released.wait()
        self._bytes_in_memory += size

    async def _send_batches(self) -> None:
        while True:
            batch = await self._ready.get()
            async with self._send_lock:
                if (delay := self._limiter.delay(batch.items, time.monotonic())) > 0:
                    await asyncio.sleep(delay)
            sent_in = self._limiter.sending(batch.items)
            try:
                response = await self.transport.send(batch.body)
            except NoResponseError as error:
                self._retry(batch, TableUnreachableError(self.table_name, str(error), self._without_progress()))
                continue
            await self._handle(batch, response, sent_in)

    async def _handle(self, batch: Batch, response: Response, sent_in: int) -> None:
        if response.status == 200:  # noqa: PLR2004 - OK
            self._acknowledge(batch, response, sent_in)
        elif response.throttled:
            self._limiter.responded(sent_in, batch.items, 0, time.monotonic())
            self._retry(batch, self._throttled(batch.items))
        elif response.retryable:
            if response.code in EXPIRED:
                await self.transport.renew()
            reason = f"{response.status} {response.code} {response.message}"
            self._retry(batch, TableUnreachableError(self.table_name, reason, self._without_progress()))
        elif response.code == INVALID:
            raise await self._refused_row(batch, response) or response.error()
        else:
            raise response.error()

    def _acknowledge(self, batch: Batch, response: Response, sent_in: int) -> None:
        now, unprocessed = time.monotonic(), response.unprocessed
        accepted = batch.items - len(unprocessed)
        if accepted < 0:
            reason = f"a response that returns {len(unprocessed)} items of {batch.items} that were sent"
            self._retry(batch, TableUnreachableError(self.table_name, reason, self._without_progress()))
            return
        self._limiter.responded(sent_in, batch.items, accepted, now)
        self.acknowledged += accepted
        if accepted:
            self._progress_at = now
        if unprocessed:
            body = body_of(unprocessed, self.table_name)
            rest = Batch(body, len(unprocessed), batch.attempts, batch.counted_bytes)
            self._retry(rest, self._throttled(len(unprocessed)))
        else:
            self._bytes_in_memory -= batch.counted_bytes
            self._released.set()
            self._capacity.release()
            self._ready.task_done()

    def _retry(self, batch: Batch, error: Exception) -> None:
        """Send the batch again after a back-off; raise the error if nothing was acknowledged for too long."""
        if self._without_progress() > self.patience_seconds:
            raise error
        # Full jitter: batches that failed together are not sent again together.
        # Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
        longest = min(FIRST_BACK_OFF_SECONDS * 2**batch.attempts, LONGEST_BACK_OFF_SECONDS)
        back_off = random.uniform(0, longest)  # noqa: S311 - no secret depends on it
        again = replace(batch, attempts=batch.attempts + 1)
        asyncio.get_running_loop().call_later(back_off, self._requeue, again)

    def _requeue(self, batch: Batch) -> None:
        self._ready.put_nowait(batch)
        self._ready.task_done()  # for the attempt before; after `put_nowait`, or `join` would see an empty queue

    def _without_progress(self) -> float:
        return time.monotonic() - self._progress_at

    def _throttled(self, items: int) -> ThrottledError:
        return ThrottledError(self.table_name, items, self._without_progress())

    async def _refused_row(self, batch: Batch, response: Response) -> RowRefusedError | None:
        """The error that names the row for which DynamoDB refuses the batch; None if no single row is to blame."""
        puts = json.loads(batch.body)["RequestItems"][self.table_name]
        keys: set[str] = set()
        for put in puts:
            item = put["PutRequest"]["Item"]
            key = json.dumps([item[name] for name in self.key])
            if self.key and key in keys:
                return self._row_error(item, response)
            keys.add(key)
        for put in puts:
            with suppress(NoResponseError):  # then the error for the batch is raised
                single = await self.transport.send(body_of([put], self.table_name))
                if single.code == INVALID:
                    return self._row_error(put["PutRequest"]["Item"], single)
        return None

    def _row_error(self, item: dict[str, Any], response: Response) -> RowRefusedError:
        if not self.show_rows:
            return RowRefusedError(self.table_name, NOT_SHOWN, f"{response.code}, whose message is not shown either")
        values = [str(value) for typed in item.values() for value in typed.values()]
        return RowRefusedError(self.table_name, ",".join(values)[:SHOWN_CHARACTERS], response.message)
