"""What loading readings costs, beside other ways to do it, in one run on one machine.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install -r benchmarks/requirements-write.txt
    .venv/bin/python -m benchmarks.write --peers-python /tmp/peers/bin/python
    .venv/bin/python -m benchmarks.write --tls --clients ours "ours, in processes"
    .venv/bin/python -m benchmarks.write --items-per-second 5000 --unprocessed-share 0.2 --clients ours --rows 100000
    .venv/bin/python -m benchmarks.write --kind weather --clients ours "awswrangler put_csv" --peers-python …

Each way loads a file from its first byte to the last acknowledged item, in a process of its own, into a server that
only counts, in another; imports are left out. All ways take turns, so that a busy machine is busy for all of them, and
the figure is the median of their rounds. "ours, in processes" is written by `--processes` of them, which Prefect starts
during the load; the line "without their start" leaves the time and CPU of that out. Peak MB is that of the largest
process, server% what the server takes of a core. "ours is x" and "CPU x" compare with "ours", one process. Slow ways
are given fewer rows: what they cost an item does not depend on it.
"""

import argparse
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.write_clients import CLIENTS, OF_ANY_KIND
from benchmarks.write_files import KINDS, write_file

PEERS = "awswrangler"
SILENT = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
"""No usage statistics leave the machine."""
IN_PROCESSES = "ours, in processes"
SHARE_OF_ROWS = {
    "ours": 1.0,
    IN_PROCESSES: 1.0,
    "ours, through boto3": 0.1,
    "batch_writer": 0.05,
    "put_item per row": 0.002,
}


@contextmanager
def server(arguments: list[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.fakes.counting_server", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip() if process.stdout else ""
    finally:
        process.terminate()
        process.wait()


def ask(endpoint: str, path: str, settings: dict[str, Any] | None, bundle: str) -> dict[str, Any]:
    data = json.dumps(settings).encode() if settings is not None else None
    context = ssl.create_default_context(cafile=bundle) if bundle else None
    with urllib.request.urlopen(urllib.request.Request(endpoint + path, data), context=context) as answer:
        report: dict[str, Any] = json.loads(answer.read())
    return report


def measure(
    client: str,
    python: str,
    path: Path,
    endpoint: str,
    *,
    kind: str,
    behaviour: dict[str, Any],
    bundle: str,
    processes: int,
) -> dict[str, Any]:
    """Figures of one load, and what the server says of it."""
    ask(endpoint, "/behaviour", behaviour, bundle)
    command = [python, "-m", "benchmarks.write_clients", client, str(path), endpoint, kind]
    if client == IN_PROCESSES:
        command = [python, "-m", "benchmarks.write_shards", str(path), endpoint, str(processes)]
    environment = os.environ | {"CA_BUNDLE": bundle} | SILENT
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{client}: {done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report = ask(endpoint, "/report", None, bundle)
    if client == IN_PROCESSES:  # else the end of Prefect's runs, after the last item, would be part of it
        figures["seconds"] = report["last_item_at"] + behaviour["delay_seconds"] - figures["started"]
    return figures | {"server": report}


def without_start(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a load in processes as if these had been there already."""
    return figures | {
        "seconds": figures["seconds"] - figures["start_seconds"],
        "cpu_seconds": figures["cpu_seconds"] - figures["start_cpu_seconds"],
    }


def median(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "items/s": statistics.median(each["items"] / each["seconds"] for each in rounds),
        "CPU us/item": statistics.median(1e6 * each["cpu_seconds"] / each["items"] for each in rounds),
        "peak MB": statistics.median(max(each["peak_mb"], *each.get("peaks_mb", [0])) for each in rounds),
        "server busy": statistics.median(each["server"]["cpu_seconds"] / each["seconds"] for each in rounds),
    }


def settled(report: dict[str, Any]) -> float:
    """Items a second between the third second and the last."""
    seconds = [items for _, items in report["items_by_second"]][3:-1]
    return statistics.mean(seconds) if seconds else float("nan")


def show(name: str, figures: dict[str, float], ours: dict[str, float], last: dict[str, Any]) -> None:
    report, faster = last["server"], ours["items/s"] / figures["items/s"]
    cheaper = figures["CPU us/item"] / ours["CPU us/item"]
    refused = report["refused"] / max(1, report["requests"])
    exact = report["keys"] in (None, last["items"]) and not report["overwritten_with_another_value"]
    print(
        f"{name:22}{figures['items/s']:>10,.0f}{figures['CPU us/item']:>10.1f}{figures['peak MB']:>8.0f}"
        f"{faster:>10.1f}{cheaper:>10.1f}{100 * figures['server busy']:>9.0f}"
        f"{settled(report):>11,.0f}{100 * refused:>9.1f}  {'yes' if exact else 'NO'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    ways = [*CLIENTS, IN_PROCESSES]
    parser.add_argument("--clients", nargs="+", choices=ways)
    parser.add_argument("--kind", choices=KINDS, default="readings", help="what is in the file")
    parser.add_argument("--processes", type=int, default=2, help=f"how many write {IN_PROCESSES!r}")
    parser.add_argument("--peers-python", help="Python of an environment with requirements-write.txt")
    parser.add_argument("--delay-seconds", type=float, default=0.005)
    parser.add_argument("--items-per-second", type=float)
    parser.add_argument("--unprocessed-share", type=float, default=0.0)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--no-keep", dest="keep", action="store_false", help="have the server count only")
    asked = parser.parse_args()
    names = ("delay_seconds", "items_per_second", "unprocessed_share", "keep")
    behaviour = {name: getattr(asked, name) for name in names} | {"key": KINDS[asked.kind].key}
    able = ways if asked.kind == "readings" else OF_ANY_KIND
    if unable := {*(asked.clients or ())} - {*able}:
        parser.error(f"{', '.join(sorted(unable))}: only for readings")
    clients = [each for each in asked.clients or able if asked.peers_python or PEERS not in each]
    with tempfile.TemporaryDirectory() as folder:
        bundle = str(Path(folder) / "ca.pem") if asked.tls else ""
        files = {
            client: write_file(
                KINDS[asked.kind], Path(folder) / f"{number}.csv", int(asked.rows * SHARE_OF_ROWS.get(client, 0.05))
            )
            for number, client in enumerate(clients)
        }
        rounds: dict[str, list[dict[str, Any]]] = {client: [] for client in clients}
        tls = ["--certificate", bundle] if bundle else []
        with server(["--files", folder, *tls]) as endpoint:
            for _ in range(asked.rounds):
                for client, each in rounds.items():
                    python = asked.peers_python if PEERS in client else sys.executable
                    figures = measure(
                        client,
                        python,
                        files[client],
                        endpoint,
                        kind=asked.kind,
                        behaviour=behaviour,
                        bundle=bundle,
                        processes=asked.processes,
                    )
                    print(client, {name: value for name, value in figures.items() if name != "server"}, file=sys.stderr)
                    each.append(figures)
    show_all(
        rounds,
        f"{asked.rows:,} rows of {asked.kind}, {'TLS, ' if asked.tls else ''}{behaviour}, {asked.processes} processes",
    )


def show_all(rounds: dict[str, list[dict[str, Any]]], what: str) -> None:
    if IN_PROCESSES in rounds:
        rounds = rounds | {"  without their start": [without_start(each) for each in rounds[IN_PROCESSES]]}
    figures = {client: median(each) for client, each in rounds.items()}
    print(f"{what}, median of {len(next(iter(rounds.values())))} rounds, load average {os.getloadavg()[0]:.1f}")
    print(
        f"{'':22}{'items/s':>10}{'CPU us':>10}{'MB':>8}{'ours is x':>10}{'CPU x':>10}{'server%':>9}{'settled/s':>11}"
        f"{'refused%':>9}  exact"
    )
    for client in rounds:
        show(client, figures[client], figures.get("ours", figures[client]), rounds[client][-1])


if __name__ == "__main__":
    main()
