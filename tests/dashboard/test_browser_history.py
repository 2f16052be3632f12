"""The history in a real Chromium: long ranges, rooms of journals, days without 24 hours."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from serd.events.clock import parse_rfc3339
from serd.events.journal import Journal
from tests.dashboard.making import made_day, made_event, now_ms, publish_node, state
from tests.dashboard.running import Browser, Dashboard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

pytestmark = [pytest.mark.broker, pytest.mark.browser, pytest.mark.slow]

ROOMS = "[...document.querySelector('#query-node').options].map((one) => one.text)"
CHANGED = "dispatchEvent(new Event('change', {bubbles: true}))"


def choose_range(browser: Browser, value: str) -> None:
    browser.run(
        "const range = document.querySelector('#query-range'); range.value = arguments[0];"
        f"range.{CHANGED}",
        value,
    )


def test_the_table_and_the_downloads_reach_the_oldest_event(
    tmp_path: Path, broker: Mosquitto, browser: Browser
) -> None:
    day = made_day("attic", now_ms())
    # Two begin in the same millisecond: the last of the first 2000, and one of the next.
    twin = made_event("hall", 1, parse_rfc3339(day[-2000].started_at))
    with Journal(tmp_path / "journal.db") as journal:
        journal.append_many([*day, twin])
    times = sorted((event.started_at for event in [*day, twin]), reverse=True)
    assert times[1999] == times[2000] == twin.started_at
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/history")
        browser.wait_text("#history-sum", f"{len(times):,} utterances")
        assert "the table has the latest 2,000" in browser.text("#history-sum")
        for rows in range(200, 2001, 100):
            browser.run("document.querySelector('#history-more').click()")
            assert len(browser.all("#history-table tr")) == rows
        browser.run("document.querySelector('#history-more').click()")
        browser.wait("document.querySelectorAll('#history-table tr').length === arguments[0]",
                     len(times))  # fmt: skip
        assert not browser.find("#history-more").is_displayed()
        assert browser.text("#history-sum") == f"{len(times):,} utterances"
        shown = browser.run(
            "return [...document.querySelectorAll('#history-table time')].map((e) => e.dateTime)"
        )
        assert shown == times
        table = httpx.get(browser.find("#history-csv").get_attribute("href") or "").text
        assert len(list(csv.DictReader(io.StringIO(table)))) == len(times)
        found = httpx.get(browser.find("#history-json").get_attribute("href") or "").json()
        assert len(found["events"]) == len(times)
        # A range that is none shows nothing, rather than what was found for another one.
        choose_range(browser, "own")
        browser.run(
            "document.querySelector('#query-until').value = '2026-01-01T00:00';"
            "const since = document.querySelector('#query-since');"
            f"since.value = '2026-02-01T00:00'; since.{CHANGED}"
        )
        browser.wait_text("#history-sum", "since must be before until")
        assert not browser.find("#history-table").is_displayed()
        assert not browser.find("#history-csv").is_displayed()
        choose_range(browser, "86400000")
        browser.wait("!document.querySelector('#history .card').hidden")
        errors = browser.console_errors()  # only for the range that is none
        assert all("400" in line for line in errors), errors


def test_the_selector_of_rooms_follows_the_rooms(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        journal.append_many(
            [made_event(node, 1, now_ms() - 60_000) for node in ("attic", "cellar")]
        )
    publish_node(speaker, "attic", None)
    publish_node(speaker, "hall", None, online=False)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.size(390, 844)
        browser.open(f"{dash.url}#/history")
        browser.wait(f"{ROOMS}.length === 4")
        assert browser.run(f"return {ROOMS}") == ["all rooms", "attic", "cellar", "hall"]
        browser.run(
            "const node = document.querySelector('#query-node'); node.value = 'hall';"
            f"node.{CHANGED}"
        )
        long = "Zimmer der allerliebsten Gro\u00dfmutter im dritten Stock links hinten am Fenster"
        speaker.publish("serd/attic/state", state(None, name=long), retain=True)
        browser.wait(f"{ROOMS}.includes(arguments[0])", long)
        assert browser.run("return document.querySelector('#query-node').value") == "hall"
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        speaker.publish("serd/hall/status", b"", retain=True)  # forgotten
        browser.wait(f"{ROOMS}.length === 3")
        browser.wait("document.querySelector('#query-node').value === ''")
        browser.wait("document.querySelectorAll('#history-table tr').length === 2")
        assert browser.console_errors() == []


TICKS = """
const [since, until, most] = arguments;
return import('./static/ribbon.js').then(({ ticks }) =>
  ticks(since, until, most).map(({ at, text }) => [text, new Date(at).getHours()]));
"""
BERLIN = 3_600_000  # ahead of UTC in winter, milliseconds


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29", [0, 4, 8, 12, 16, 20]), ("2026-10-25", [0, 4, 8, 12, 16, 20])],
)
def test_ticks_stand_at_round_hours_when_the_clocks_change(
    tmp_path: Path, broker: Mosquitto, browser: Browser, day: str, hours: list[int]
) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Europe/Berlin"})
    try:
        with Dashboard(tmp_path, broker.port) as dash:
            browser.open(dash.url)
            since, until = browser.run(
                "return [0, 24].map((hour) => new Date(`${arguments[0]}T00:00`).setHours(hour))",
                day,
            )
            assert until - since in {23 * 3_600_000, 25 * 3_600_000}
            assert [hour for _, hour in browser.run(TICKS, since, until, 7)] == hours
            whole_year = browser.run(TICKS, since - 150 * 86_400_000, until + 150 * 86_400_000, 9)
            assert {hour for _, hour in whole_year} == {0}
            assert 5 < len(whole_year) < 13
            hourly = browser.run(TICKS, since, until, 30)
            assert len({text for text, _ in hourly}) == len(hourly) == (23 if "03" in day else 24)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_ranges_longer_than_a_day_name_the_day(
    tmp_path: Path, broker: Mosquitto, browser: Browser
) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        journal.append_many([made_event("attic", 1, now_ms() - 60_000)])
    with Dashboard(tmp_path, broker.port) as dash:
        # Before there are data, the pointer over the band is no error.
        browser.open(dash.url)
        browser.wait("document.querySelector('#history-mood svg')")
        browser.run(
            "document.querySelector('#history-mood svg')"
            ".dispatchEvent(new PointerEvent('pointermove'))"
        )
        browser.open(f"{dash.url}#/history")
        browser.wait_text("#history-sum", "1 utterance")
        named = "#history-mood .readout", "#history-mood title"
        for length, has_day in (("86400000", False), ("604800000", True)):
            choose_range(browser, length)
            browser.wait(
                "document.querySelector('#history-json').href.includes("
                "`since=${document.querySelector('#history-json').href.match(/until=(\\d+)/)[1]"
                " - arguments[0]}`)",
                length,
            )
            browser.run(
                "const slider = document.querySelector('#history-mood .scrub'); slider.focus();"
                "slider.value = 3; slider.dispatchEvent(new Event('input'))"
            )
            texts = [browser.text(one) for one in named]
            days = [bool(re.search(r"\b[A-Z][a-z]{2} \d", text)) for text in texts]
            assert days == [has_day] * 2, texts
        assert browser.console_errors() == []


@pytest.mark.parametrize(
    ("preferred", "expected"),
    [("de-AT,en", ["70 %", "+0,25", "14:05"]), ("en-GB", ["70%", "+0.25", "14:05"]),
     ("fr,de-DE", ["70 %", "+0,25", "14:05"]), ("fr", ["70%", "+0.25", "02:05 PM"])],
)  # fmt: skip
def test_figures_are_written_as_in_the_language_of_the_page(
    tmp_path: Path, broker: Mosquitto, browser: Browser, preferred: str, expected: list[str]
) -> None:
    browser.set_language(preferred)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(dash.url)
        assert expected == [
            text.replace("\u00a0", " ").replace("\u202f", " ")
            for text in browser.run(
                "return import('./static/words.js').then(({ percent, signed, time }) =>"
                " [percent(0.7), signed(0.25), time(new Date(2026, 0, 1, 14, 5))])"
            )
        ]
