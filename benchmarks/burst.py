"""What happens when many files, or many emails, are due at once, on the real embedded stack.

    python -m benchmarks.burst --files 1000 --plain 60       # ours, then one run per file, at three limits
    python -m benchmarks.burst --files 1000 --consumer       # ours, then a consumer of the queue without Prefect
    python -m benchmarks.burst --files 10000 --curve 10      # with the memory of relay and runs, every 10 s
    python -m benchmarks.burst --latency 10                  # one file on an idle stack, step by step, warm and plain
    python -m benchmarks.burst --idle 60                     # the CPU of each part while there is nothing to do
    python -m benchmarks.burst --waits 1000                  # so many emails paused, all due at nearly the same time
    python -m benchmarks.burst --waits 200 --emails-at-once 2 4 6    # with so many runs of emails at once, in turns

Each has a stack of its own, started and ended here, its files in a temporary folder; everything shares the machine.
One run per file has Prefect's best settings: a run that waits for a slot is tried again every second, the worker polls
every second, a run starts without the workspace supervisor, and the best of several concurrency limits counts.
`--sqlite` has the Prefect server use SQLite. A check that fails is printed with NO, and the exit code is 1.
"""

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import psutil

from benchmarks.burst_watch import ROWS, Watch, memory_curve, new_sensor, seconds, wait_for
from blocks.domain.limits import PAUSE_TIMEOUT_SLACK_SECONDS
from blocks.domain.models import FileReport
from blocks.domain.names import EMAILS_QUEUE, FILES_QUEUE
from blocks.file_ledger import FileLedger
from deployments.embedded import EmbeddedStack
from deployments.embedded.services.prefect import ENGINE_COMMAND
from deployments.embedded.services.warm_process import warm_status
from deployments.embedded.startup import RELAY_COMMAND
from deployments.server.prefect_yaml import prefect_deploy_all
from deployments.settings import EMAIL_RUNS_AT_ONCE
from flows.notification.wait import wait_tag

PLAIN_RELAY = (sys.executable, str(Path(__file__).with_name("burst_plain_relay.py")))
CONSUMER = (sys.executable, str(Path(__file__).with_name("burst_consumer.py")))

T = TypeVar("T")

failed: list[str] = []


def check(what: str, *, holds: bool, seen: object) -> None:
    print(f"    {'yes' if holds else 'NO '}  {what}: {seen}", flush=True)
    if not holds:
        failed.append(what)


@contextmanager
def stack(relay: Sequence[str] = RELAY_COMMAND, notify_after: float = 1, *, sqlite: bool = False) -> Iterator[Watch]:
    with tempfile.TemporaryDirectory(prefix="sensor-ingest-burst-", ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder) / "stack"
        with EmbeddedStack(
            data_dir,
            notify_after_seconds=notify_after,
            deploy=prefect_deploy_all,
            relay_command=relay,
            use_postgres=not sqlite,
        ) as running:
            time.sleep(35)  # by then the worker has read anew what the pool says about starting processes
            yield Watch(running)


# ---- Many files ---------------------------------------------------------------------------------------------------


def burst(watch: Watch, files: int, patience: float, curve_every: float = 0) -> tuple[float, float]:
    """Seconds until so many files were out of incoming/, and until the last of their emails."""
    begun = time.monotonic()
    with memory_curve(watch, curve_every or 1) as curve:
        put = watch.put_many(files, 1)
        print(f"{files:,} files put in {put:.1f} s", flush=True)
        archived = wait_for(lambda: watch.left_in_incoming() == 0, patience)
        loaded = time.monotonic() - begun

        def all_notified() -> bool:
            ended = watch.count("notify", "COMPLETED")
            busy = watch.count("ingest-sensor-files", "SCHEDULED", "PENDING", "RUNNING")
            return not busy and ended > 0 and ended == watch.count("notify")

        wait_for(lambda: all_notified() and watch.emailed() == files, patience - loaded, every=1)
        total = time.monotonic() - begun
    print(f"{files:,} files: out of incoming/ after {loaded:.1f} s, emailed about after {total:.1f} s")
    print(f"    {60 * files / loaded:,.0f} files/min loaded, {60 * files / total:,.0f} files/min emailed about")
    check("nothing is left in incoming/", holds=archived, seen=watch.left_in_incoming())
    verify(watch, files)
    show_curve(curve, curve_every)
    return loaded, total


def consumed(watch: Watch, files: int, patience: float) -> float:
    """Seconds until a consumer without Prefect has loaded so many files and moved them."""
    begun = time.monotonic()
    watch.put_many(files, 1)
    archived = wait_for(lambda: watch.left_in_incoming() == 0, patience)
    took = time.monotonic() - begun
    print(f"{files:,} files: out of incoming/ after {took:.1f} s; a consumer without Prefect sends no email")
    check("nothing is left in incoming/", holds=archived, seen=watch.left_in_incoming())
    check("all rows are in the table", holds=watch.all_rows() == files * ROWS, seen=watch.all_rows())
    return took


def verify(watch: Watch, files: int) -> None:
    statuses = Counter(entry["status"]["S"] for entry in watch.ledger("0001/"))
    check("all files are archived", holds=statuses == {"archived": files}, seen=dict(statuses))
    check("all rows are in the table", holds=watch.all_rows() == files * ROWS, seen=watch.all_rows())
    emailed = Counter(
        file["key"]
        for run in watch.runs("notify")
        if run["state_type"] == "COMPLETED"
        for file in run["parameters"]["files"]
    )
    twice = sum(count > 1 for count in emailed.values())
    check("each is in an email, none in two", holds=len(emailed) == files and not twice, seen=(len(emailed), twice))
    runs = Counter(run["state_name"] for run in watch.runs("ingest-sensor-files"))
    check("no ingest run Crashed or Failed", holds=set(runs) <= {"Completed", "AlreadyLoaded"}, seen=dict(runs))
    emails = Counter(run["state_name"] for run in watch.runs("notify"))
    check("no notify run Crashed or Failed", holds=set(emails) == {"Completed"}, seen=dict(emails))
    check("there is one mail for each notify run", holds=watch.mails() == emails["Completed"], seen=watch.mails())


def show_curve(curve: list[tuple[float, float, list[float]]], every: float) -> None:
    if not curve:
        return
    if every:
        print("    seconds  relay MiB  runs MiB")
        for at, relay, runs in curve:
            print(f"    {at:7.0f}  {relay:9.0f}  {' '.join(f'{each:.0f}' for each in runs)}")
    print(
        f"    peak: relay {max(relay for _, relay, _ in curve):.0f} MiB, "
        f"largest run {max((run for _, _, runs in curve for run in runs), default=0):.0f} MiB"
    )


# ---- One file -----------------------------------------------------------------------------------------------------


PEAKS = 3
"""Runs of each way whose memory is looked at; apart from those that are timed, as looking costs time."""

WAYS = {"warm": None, "plain": shlex.join(ENGINE_COMMAND)}
"""How runs are started: by the command of the pool, a launcher, or by one of the deployment, Prefect's engine."""


def latency(watch: Watch, times: int) -> None:
    """In turns, so that both ways see the same machine."""
    ways = WAYS if "warm" in watch.stack.description.parts else {"plain": WAYS["plain"]}
    steps = in_turns(watch, ways, times, lambda number: one_file(watch, number))
    print(f"one file of {ROWS} rows on an idle stack, medians of {times} (min-max), seconds:")
    print(f"    {'':34}" + "".join(f" {way:>20}" for way in ways))
    for name in next(iter(steps.values()))[0]:
        texts = [spread([each[name] for each in steps[way]]) for way in ways]
        print(f"    {name:34}" + "".join(f" {text:>20}" for text in texts))
    peaks = in_turns(watch, ways, PEAKS, lambda _: peak_of_a_run(watch))
    texts = [spread(peaks[way], digits=0) for way in ways]
    print(f"    {f'peak USS of a run, MiB, of {PEAKS}':34}" + "".join(f" {text:>20}" for text in texts))
    if "warm" in ways:
        forked = warm_status(watch.stack.description).forked
        check("runs were forked from the warm process", holds=forked >= times, seen=forked)


def in_turns(
    watch: Watch, ways: Mapping[str, str | None], times: int, measure: Callable[[int], T]
) -> dict[str, list[T]]:
    """What was measured so many times of each way; `measure` is given the number of the turn."""
    found: dict[str, list[T]] = {way: [] for way in ways}
    for number in range(times * len(ways)):
        way = list(ways)[number % len(ways)]
        watch.start_runs_with(ways[way])
        found[way].append(measure(number))
        watch.start_runs_with(None)
    return found


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f}  ({min(values):.{digits}f}-{max(values):.{digits}f})"


def one_file(watch: Watch, number: int) -> dict[str, float]:
    name, sensor = f"latency-{number}-{new_sensor()}.csv", new_sensor()
    used, begun = watch.cpu_of_runs(), time.time()
    watch.put(name, sensor)
    if not wait_for(lambda: watch.rows(sensor) == ROWS, 60, every=0.02):
        raise RuntimeError(f"{name} was not loaded within a minute")
    ended = time.time()
    wait_for(lambda: not watch.run_processes(), 60)
    time.sleep(2)
    used = watch.cpu_of_runs() - used
    run = next(each for each in watch.runs("ingest-sensor-files") if each["name"] == name)
    at = {state["name"]: seconds(state["timestamp"]) for state in reversed(watch.states(run))}
    event = next(
        each
        for each in watch.api("/events/filter", {"filter": {"event": {"name": ["sensor-files.arrived"]}}})["events"]
        if each["payload"]["objects"][0]["key"].endswith(name)
    )
    sent, created, process = seconds(event["occurred"]), seconds(run["created"]), at.get("Submitting", at["Pending"])
    steps = {
        "put to event (S3, queue, relay)": sent - begun,
        "event to run (automation)": created - sent,
        "run to process (worker's poll)": process - created,
        "process to flow (Python, imports)": at["Running"] - process,
        "flow to last row": ended - at["Running"],
        "all": ended - begun,
    }
    ours = steps["put to event (S3, queue, relay)"] + steps["event to run (automation)"] + steps["flow to last row"]
    return steps | {"all but poll and process start": ours, "CPU of worker and run": used}


def peak_of_a_run(watch: Watch) -> float:
    """The most MiB that the processes of a run had for themselves (USS), of looks every 10 ms."""
    peak, sensor = 0.0, new_sensor()
    watch.put(f"peak-{sensor}.csv", sensor)

    def loaded() -> bool:
        nonlocal peak
        now = 0.0
        for process in watch.run_processes():
            with suppress(psutil.Error):
                now += process.memory_full_info().uss / 2**20
        peak = max(peak, now)
        return not now and watch.rows(sensor) == ROWS

    if not wait_for(loaded, 60, every=0.01):
        raise RuntimeError("a file was not loaded within a minute")
    return peak


# ---- Nothing to do ------------------------------------------------------------------------------------------------


def idle(watch: Watch, for_seconds: float) -> None:
    """The share of a core that each part takes while no file comes."""
    time.sleep(20)  # the first minute after a start has work of its own; most of it is over by now
    before = cpu_of_parts(watch)
    begun = time.monotonic()
    time.sleep(for_seconds)
    took = time.monotonic() - begun
    shares = {name: 100 * (used - before[name]) / took for name, used in cpu_of_parts(watch).items()}
    print(f"idle for {took:.0f} s, % of a core: " + ", ".join(f"{name} {share:.1f}" for name, share in shares.items()))
    print(f"    all {sum(shares.values()):.1f}")


def cpu_of_parts(watch: Watch) -> dict[str, float]:
    """Seconds of CPU of each part of the stack since it started."""
    parts = watch.stack.description.parts
    return {name: cpu_with_children(psutil.Process(part.pid)) for name, part in parts.items()}


def cpu_with_children(process: psutil.Process) -> float:
    """Seconds of CPU of the process and of those that it has started, also of those that have ended."""
    used = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            used += sum(each.cpu_times()[:4])
    return used


# ---- Many emails --------------------------------------------------------------------------------------------------


def waits(watch: Watch, count: int, wait_seconds: float) -> None:
    deployment, ledger = watch.deployment("notify/notify")["id"], watch.file_ledger()
    begun = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: paused_email(watch, ledger, deployment, n, wait_seconds), range(count)))
    took = time.monotonic() - begun
    print(f"{count:,} notify runs created paused for {wait_seconds:g} s, within {took:.1f} s", flush=True)
    check(
        "all of them are paused", holds=watch.count("notify", "PAUSED") == count, seen=watch.count("notify", "PAUSED")
    )
    check("and no process runs a flow", holds=not watch.run_processes(), seen=dict(watch.processes()))
    wait_for(lambda: watch.count("notify", "PAUSED") < count, wait_seconds + 60)
    resumed, before = time.monotonic(), cpu_of_parts(watch)
    wait_for(lambda: watch.count("notify", "COMPLETED", "FAILED", "CRASHED") == count, 60 + 10 * count, every=2)
    took = time.monotonic() - resumed
    print(f"    all ended {took:.0f} s after the first was resumed, {60 * count / took:.0f} a minute")
    used = ", ".join(f"{name} {spent - before[name]:.0f}" for name, spent in cpu_of_parts(watch).items())
    print(f"    seconds of CPU: {used}")
    late = sorted(sent - due for due, sent in watch.emails_sent())
    middle = statistics.median(late)
    print(f"    sent {late[0]:.1f} to {late[-1]:.1f} s after the end of the wait, median {middle:.1f} s")
    check("none waited longer than all of them took", holds=late[-1] < took + 15, seen=f"{late[-1]:.1f}")
    ended = list(watch.runs("notify"))
    by_others = sum("sent by the run" in (run["state"]["message"] or "") for run in ended)
    print(f"    {by_others:,} of them were sent by a run that had a slot, in place of their own")
    states = Counter(run["state_name"] for run in ended)
    check("all of them Completed", holds=states == {"Completed": count}, seen=dict(states))
    check("each sent one mail", holds=watch.mails() == count, seen=watch.mails())


def paused_email(watch: Watch, ledger: FileLedger, deployment: str, number: int, wait_seconds: float) -> None:
    """The run and the email in the outbox that `flows.notification.wait` makes at the end of an ingest run."""
    times_out = time.gmtime(time.time() + PAUSE_TIMEOUT_SLACK_SECONDS)
    file = FileReport(
        bucket=watch.outputs.bucket_name,
        key=f"incoming/{number}.csv",
        version="v1",
        status="archived",
        lines=1,
        rows=1,
        accepted=1,
    )
    email_id = ledger.finish_collecting(f"email-{number}", [file], timedelta(seconds=wait_seconds))
    assert email_id
    body = {
        "name": f"email about {number}.csv",
        "parameters": {"files": [file.model_dump(mode="json")], "email_id": email_id},
        "tags": [wait_tag(wait_seconds)],
        "state": {
            "type": "PAUSED",
            "name": "Paused",
            "state_details": {
                "pause_timeout": time.strftime("%Y-%m-%dT%H:%M:%SZ", times_out),
                "pause_reschedule": True,
            },
        },
    }
    ledger.assign_run(email_id, watch.api(f"/deployments/{deployment}/create_flow_run", body)["id"])


def many_files(asked: argparse.Namespace) -> None:
    """A burst, and what it is compared with, one after another."""
    patience = asked.patience or 120 + asked.files / 2
    with stack(sqlite=asked.sqlite) as watch:
        ours = burst(watch, asked.files, patience, asked.curve)
    if asked.consumer:
        with stack(CONSUMER, sqlite=asked.sqlite) as watch:
            took = consumed(watch, asked.files, patience)
        print(f"ours takes {ours[0] / took:.1f} times as long to the table as a consumer without Prefect")
    plain: dict[int, tuple[float, float]] = {}
    for limit in asked.limits if asked.plain else ():
        print(f"one run per file, {limit} at once:")
        with stack(PLAIN_RELAY, sqlite=asked.sqlite) as watch:
            watch.set_limit(FILES_QUEUE, limit)
            plain[limit] = burst(watch, asked.plain, asked.patience or 120 + 30 * asked.plain)
    if plain:
        for what, mine, theirs in zip(
            ("to the table", "to the email"), ours, zip(*plain.values(), strict=True), strict=True
        ):
            ratio = (min(theirs) / asked.plain) / (mine / asked.files)
            print(f"ours is {ratio:.1f} times as fast {what} as one run per file at the best limit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--plain", type=int, default=0, metavar="N", help="files for one run per file, to compare with")
    parser.add_argument("--consumer", action="store_true", help="compare with a consumer without Prefect, too")
    parser.add_argument("--limits", type=int, nargs="+", default=[2, 4, 8], help="concurrent runs of --plain")
    parser.add_argument("--curve", type=float, default=0, metavar="SECONDS", help="print memory every so often")
    parser.add_argument("--latency", type=int, default=0, metavar="TIMES")
    parser.add_argument("--idle", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--waits", type=int, default=0, metavar="N")
    parser.add_argument(
        "--emails-at-once",
        type=int,
        nargs="+",
        default=[EMAIL_RUNS_AT_ONCE],
        metavar="N",
        help="concurrent runs of --waits",
    )
    parser.add_argument(
        "--wait-seconds", type=float, default=0, help="the wait of those; 30 s and 0.1 s for each, if 0"
    )
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--sqlite", action="store_true")
    asked = parser.parse_args()
    if asked.files:
        many_files(asked)
    if asked.latency:
        with stack(notify_after=3600, sqlite=asked.sqlite) as watch:
            latency(watch, asked.latency)
    if asked.idle:
        with stack(notify_after=3600, sqlite=asked.sqlite) as watch:
            idle(watch, asked.idle)
    if asked.waits:
        wait_seconds = asked.wait_seconds or 30 + asked.waits / 10
        for limit in asked.emails_at_once:
            with stack(notify_after=wait_seconds, sqlite=asked.sqlite) as watch:
                watch.set_limit(EMAILS_QUEUE, limit)
                print(f"{limit} emails at once:")
                waits(watch, asked.waits, wait_seconds)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
