"""German words on small screens: nothing breaks, is cut or leaves its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dashboard.making import made_event, now_ms, publish_node
from tests.dashboard.running import Browser, Dashboard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

pytestmark = [pytest.mark.broker, pytest.mark.browser, pytest.mark.slow]

OUTSIDE = """
return [...document.querySelectorAll('.card')].flatMap((card) => {
  const edge = card.getBoundingClientRect().right;
  return [...card.querySelectorAll('*')]
    .filter((e) => !e.closest('svg, .unseen, .gauge, .score-bar, .as-table, .correct-which'))
    .filter((e) => e.getBoundingClientRect().right > edge + 1)
    .map((e) => `${e.className} ${e.textContent}`);
});
"""
BROKEN = """
return [...document.querySelectorAll('#day-range span, .figure, .tile-sure, .tile-when')]
  .filter((e) => { const range = document.createRange(); range.selectNodeContents(e);
    return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1; })
  .map((e) => e.textContent);
"""


@pytest.mark.parametrize("width", [390, 360, 320])
def test_nothing_breaks_or_overflows_in_german(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser, width: int
) -> None:
    publish_node(speaker, "attic", None)
    publish_node(speaker, "cellar", None, online=False)
    browser.set_language("de-DE")
    browser.size(width, 800)
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        for seq, emotion in enumerate(("surprised", "disgust", "fearful", "neutral"), 1):
            event = made_event("attic", seq, now_ms() - 720_000 + seq, emotion, level_dbfs=-110.0)
            publish_node(speaker, "attic", event)
        browser.open(f"{dash.url}#/room/attic")
        browser.wait("document.querySelectorAll('#recent li').length === 4")
        browser.wait("document.querySelectorAll('#day .band').length > 0")
        assert browser.run(OUTSIDE) == []
        assert browser.run(BROKEN) == []
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.run("location.hash = '#/rooms'")
        browser.wait("document.querySelectorAll('.tile').length === 2")
        assert browser.run("return document.documentElement.scrollWidth") <= width


def test_a_tile_shows_the_whole_word_and_percentage(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    for name in ("attic", "cellar"):
        publish_node(speaker, name, made_event(name, 1, now_ms() - 55 * 60_000, "surprised"))
    browser.set_language("de-DE")
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        browser.open(f"{dash.url}#/room/attic")  # the narrowest tiles are those beside a room
        for name in ("attic", "cellar"):
            event = made_event(name, 2, now_ms() - 55 * 60_000, "surprised")
            publish_node(speaker, name, event)
        browser.wait(
            "[...document.querySelectorAll('.tile-sure')].filter((e) => e.textContent).length === 2"
        )
        cut = browser.run(
            "return [...document.querySelectorAll('.tile-sure, .tile-emotion')]"
            ".filter((e) => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert cut == 0
        assert browser.text(".tile-sure") == "70\u00a0%"
