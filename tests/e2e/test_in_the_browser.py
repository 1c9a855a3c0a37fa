"""What people do in the Prefect UI, in a browser: find the run, read its report, and press Resume."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from tests.e2e.chromium import FLAGS, find_or_install
from tests.support.system import System, start_run
from tests.support.waiting import eventually

NAME = "<img src=x onerror=alert(1)> {{ 7*7 }}.csv"
BAD_ROW = "<img src=http://collector.invalid/row.png onerror=alert(2)>,{{ 7*7 }},1"
ROWS = "".join(f"0008-0001,{1483906366 + second},{second}\n" for second in range(30))

PATIENCE_MS = 60_000
"""For a page to show what was asked for, on a machine that is busy with other tests."""

LONGER_THAN_ANY_TEST = 3600
"""The wait until the email goes by itself, in seconds: whoever gets it sooner has pressed the button."""


class Watched:
    """A page, and what it has done that nobody asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialogs: list[str] = []
        self.foreign_requests: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("dialog", self._dismiss)
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", lambda websocket: self._note(websocket.url))

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _note(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in ("blob", "data") and address.hostname != "127.0.0.1":
            self.foreign_requests.append(url)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = find_or_install(tmp_path_factory.mktemp("chromium") / "apt-get.log")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        yield Watched(context.new_page())


def test_the_run_its_report_and_the_paused_email_are_found_and_the_resume_button_sends_it(
    system: System, watched: Watched
) -> None:
    page = watched.page
    uri = system.put(f"{ROWS}{BAD_ROW}\n", f"by-hand/{NAME}")
    start_run(system, [uri], notify_after_seconds=LONGER_THAN_ANY_TEST)
    eventually(lambda: system.run_in_state(f"email about {NAME}", "Paused"), 90, "the email to wait")
    eventually(lambda: system.run_in_state(NAME, "PartlyRejected"), 60, "the run to end")

    page.goto(f"{system.environment['PREFECT_API_URL'].removesuffix('/api')}/runs")
    page.get_by_role("link", name=NAME, exact=True).click()
    page.wait_for_url("**/runs/flow-run/*")
    run_page = page.url
    expect(page.get_by_text("PartlyRejected").first).to_be_visible(timeout=PATIENCE_MS)

    open_tab(page, "Artifacts")
    page.locator("a[href^='/artifacts/artifact/']").filter(has_text="sensor-files").click()
    report = page.get_by_role("heading", level=2, name=f"{NAME}: 30 rows loaded, 1 rejected")
    expect(report).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text(BAD_ROW).first).to_be_visible()
    expect(page.locator("img[src^='data:image/png']")).to_be_visible()
    assert 0 == page.locator("img[src='x'], img[src*='collector']").count()

    page.goto(run_page)
    open_tab(page, "Subflow Runs")
    page.get_by_role("link", name=f"email about {NAME}", exact=True).click()
    expect(page.get_by_text("Paused").first).to_be_visible(timeout=PATIENCE_MS)
    assert [] == system.mails_about(NAME)
    page.get_by_role("button", name="Resume").click()
    page.locator(".p-modal").get_by_role("button", name="Submit").click()

    eventually(lambda: system.mails_about(NAME), 60, "the email")
    expect(page.get_by_text("Completed").first).to_be_visible(timeout=PATIENCE_MS)
    assert ([], []) == (watched.dialogs, watched.foreign_requests)


def open_tab(page: Page, name: str) -> None:
    page.locator(".p-tab").filter(has_text=re.compile(f"^\\s*{name}\\s*$")).click()
