"""The status as lines of a terminal of any width from 60 columns on. Pure, no I/O."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.text import Text

from blocks.domain.models import LedgerEntry
from blocks.domain.s3_keys import parse_s3_uri
from blocks.domain.text import printable
from deployments.commands.history.entries import STATUS_COLOURS, duration_text, latency
from deployments.commands.status.seen import (
    Count,
    Held,
    Incoming,
    Ledger,
    Queue,
    Relay,
    Runs,
    Starts,
    Status,
    Unanswered,
    Workers,
    troubles,
)
from flows.report.wording import count_text, number

_LABEL_WIDTH: Final = 10
_HOLDERS_SHOWN: Final = 5
_NOT_KNOWN: Final = "not known: see above"


def screen(status: Status, width: int) -> Text:
    """All lines, none longer than `width`; but for what needs a person, each line is cut, not wrapped."""
    lines = [_title(status), *_needs(status, width), Text(), *_parts(status), *_ledger(status.ledger, width)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _title(status: Status) -> Text:
    shown = Text(f"stack {printable(status.stack)}, {status.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC   ", "bold")
    return shown.append(*_verdict(status))


def _verdict(status: Status) -> tuple[str, str]:
    found = len(troubles(status))
    if not found:
        return "nothing needs a person", "green"
    return ("1 thing needs a person" if found == 1 else f"{found} things need a person"), "bold red"


def _needs(status: Status, width: int) -> Iterator[Text]:
    for each in troubles(status):
        text = f"{printable(each.problem)} → {printable(each.remedy)}"
        for place, line in enumerate(_wrapped(text, width - 2)):
            yield Text(f"{'  ' if place else '! '}{line}", "red")


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The text in lines of that many cells; a word that is longer than a line is cut into several."""
    line = ""
    for word in (part for each in text.split() for part in chop_cells(each, width)):
        if line and cell_len(f"{line} {word}") > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def _parts(status: Status) -> Iterator[Text]:
    yield _line("queue", _queue(status.queue))
    yield _line("incoming", _incoming(status.incoming, status.at))
    yield _line("relay", _relay(status.relay))
    yield _line("workers", _workers(status.workers, status.at))
    yield _line("starts", _starts(status.starts))
    if isinstance(status.runs, Unanswered):
        yield _line("runs", _NOT_KNOWN)
    else:
        for label, each in zip(["runs", *[""] * len(status.runs)], status.runs, strict=False):
            yield _line(label, _runs(each))


def _line(label: str, text: str, style: str = "") -> Text:
    return Text(f"{label:<{_LABEL_WIDTH}} ", "bold").append(text, f"not bold {style}")


def _queue(queue: Queue | Unanswered) -> str:
    if isinstance(queue, Unanswered):
        return _NOT_KNOWN
    age = ""
    if queue.waiting:
        known = queue.oldest_age_seconds
        age = ", the oldest of unknown age" if known is None else f", the oldest {_seconds_text(known)} old"
    dead = count_text(queue.dead_letters, "dead letter")
    return f"{count_text(queue.waiting, 'message')} waiting{age}, {queue.in_flight:,} in flight, {dead}"


def _incoming(incoming: Incoming | Unanswered, now: datetime) -> str:
    if isinstance(incoming, Unanswered):
        return _NOT_KNOWN
    if incoming.oldest is None:
        return "empty"
    of = " of those" if incoming.files.more else ""
    age = duration_text(now - incoming.oldest.landed_at)
    return f"{_files(incoming.files)}, the oldest{of} {age} old: {_key(incoming.oldest.file)}"


def _relay(relay: Relay | Unanswered) -> str:
    if isinstance(relay, Unanswered):
        return _NOT_KNOWN
    return f"{'alive' if relay.alive else 'not heard'}: {printable(relay.sign)}"


def _workers(workers: Workers | Unanswered, now: datetime) -> str:
    if isinstance(workers, Unanswered):
        return _NOT_KNOWN
    if not workers.online:
        return f"none of {workers.known} is online" if workers.known else "none has ever connected"
    last = duration_text(now - max(each.last_heartbeat_at for each in workers.online))
    return (
        f"{len(workers.online)} online, heard {last} ago: {', '.join(printable(each.name) for each in workers.online)}"
    )


def _starts(starts: Starts | Unanswered) -> str:
    if isinstance(starts, Unanswered):
        return _NOT_KNOWN
    if starts.kind == "warm":
        return f"warm: {starts.forked:,} runs forked, {starts.running:,} of them running"
    return f"cold: {printable(starts.why)}"


def _runs(runs: Runs) -> str:
    slots = "" if runs.limit is None else f" of {runs.limit} slots"
    return f"{runs.flow:<20} {runs.running:>3} running{slots:<11} {runs.pending:>3} pending  {runs.late:>3} late"


# ---- The ledger -----------------------------------------------------------------------------------------------------


def _ledger(ledger: Ledger | Unanswered, width: int) -> Iterator[Text]:
    if isinstance(ledger, Unanswered):
        yield _line("ledger", _NOT_KNOWN)
        return
    yield _line("claims", _claims(ledger))
    for run, files in list(_by_run(ledger.held).items())[:_HOLDERS_SHOWN]:
        yield _indented(f"until {_clock(files[0].until)}  run {printable(run)}  ", _some(files), width)
    yield _line("due", _due(ledger))
    for each in ledger.next:
        when = _when(each.at - ledger.at)
        yield _indented(f"{when:<11} {each.what:<5} {each.why:<11} ", _key(each.about), width)
    yield _line("emails", _emails(ledger))
    yield _line(
        "files", f"    {'result':<10} {'rows':>9} {'bad':>7} {'took':>6}  file" if ledger.newest else "none yet"
    )
    for entry in ledger.newest:
        yield _file(entry, width)


def _claims(ledger: Ledger) -> str:
    if not ledger.held:
        return "no run holds a file"
    at_least = "at least " if ledger.held_more else ""
    files, runs = count_text(len(ledger.held), "file"), count_text(len(_by_run(ledger.held)), "run")
    return f"{at_least}{files} held by {runs}"


def _by_run(held: Sequence[Held]) -> dict[str, list[Held]]:
    """The files by run; of each, the one whose lease ends first comes first."""
    runs: dict[str, list[Held]] = {}
    for each in held:
        runs.setdefault(each.run, []).append(each)
    return runs


def _some(files: Sequence[Held]) -> str:
    return _key(files[0].file) if len(files) == 1 else count_text(len(files), "file")


def _due(ledger: Ledger) -> str:
    since = ""
    if ledger.due_files_since:
        since = f", the first for {duration_text(ledger.at - ledger.due_files_since)}"
    return f"{_files(ledger.due_files)} now{since}; {ledger.later_files} later"


def _emails(ledger: Ledger) -> str:
    if not ledger.emails.number:
        return "none waits"
    overdue = ledger.due_emails_since
    return f"{ledger.emails} not sent" + (f", overdue for {duration_text(ledger.at - overdue)}" if overdue else "")


def _file(entry: LedgerEntry, width: int) -> Text:
    took = latency(entry)
    shown = Text(f"  {entry.claimed_at.astimezone(UTC):%m-%d %H:%M}  ")
    shown.append(f"{entry.status:<10}", STATUS_COLOURS.get(entry.status, ""))
    shown.append(f" {number(entry.rows):>9} {number(entry.rejected):>7} ")
    shown.append(f"{'' if took is None else duration_text(took):>6}  ")
    return shown.append(_end(_key(entry.uri), width - cell_len(shown.plain)))


def _indented(text: str, name: str, width: int) -> Text:
    """The text, and as much of the name as the line has room for."""
    shown = f"  {text}"
    return Text(shown + _end(name, width - cell_len(shown)))


def _files(count: Count) -> str:
    return f"{count} file{'' if count == Count(1) else 's'}"


def _key(address: str) -> str:
    """The key of an address, or other text, as it can be shown."""
    return printable(parse_s3_uri(address)[1] if address.startswith("s3://") else address)


def _end(text: str, width: int) -> str:
    """The text, or as much of its end as there is room for: names differ at their end."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return f"…{text}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S}"


def _when(wait: timedelta) -> str:
    if wait <= timedelta(0):
        return f"for {duration_text(-wait)}"
    return f"in {duration_text(wait)}"


def _seconds_text(seconds: float) -> str:
    return duration_text(timedelta(seconds=seconds))
