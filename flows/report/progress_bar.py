"""The one look of progress bars on a terminal."""

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn


def progress_bars(console: "Console", amount: "ProgressColumn") -> Progress:
    """Bars with description, amount and time left, which disappear at the end. Descriptions are no markup."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(style="dim", complete_style="green", finished_style="green", pulse_style="dim"),
        amount,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
