"""A room's page in a real Chromium: corrections, the switch, and what goes wrong around them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from serd.dashboard.stream import BROWSERS_MAX
from serd.events.event import encode
from tests.dashboard.making import made_event, now_ms, publish_node, state
from tests.dashboard.running import Browser, Dashboard
from tests.dashboard.test_strangers import idle

if TYPE_CHECKING:
    from pathlib import Path

    from serd.events.event import Event
    from tests.broker import Mosquitto, Recorder

Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

pytestmark = [pytest.mark.broker, pytest.mark.browser, pytest.mark.slow]

CHOOSING = "document.activeElement.classList.contains('choice')"


def say(speaker: Recorder, seq: int, emotion: str) -> Event:
    event = made_event("attic", seq, now_ms() - 3000 + seq, emotion, share=0.8)
    speaker.publish("serd/attic/emotion", encode(event))
    return event


def test_an_open_menu_keeps_its_utterance_and_names_it(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", None)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/room/attic")
        browser.wait_text("#link-text", "live")
        first = say(speaker, 1, "happy")
        browser.wait_text("#now-emotion", "happy")
        label = "#now-correct .correct-which"
        assert browser.find(label).size["width"] <= 1  # the card itself says which it is
        browser.find("#now-correct summary").click()
        browser.wait(CHOOSING)
        row = f"#recent [data-event='{first.id}']"
        say(speaker, 2, "sad")
        browser.wait_text("#now-emotion", "sad")
        box = "return document.querySelector('#now-correct .correct-box').dataset.event"
        assert browser.run(box) == first.id
        assert browser.find(label).size["width"] > 50
        time = browser.text(f"li:has([data-event='{first.id}']) time")
        assert browser.text(label).strip() == f"{time}, happy"
        browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        # Closed, it follows the card again, and the focus stays.
        browser.wait(f"({box.removeprefix('return ')}) !== arguments[0]", first.id)
        assert browser.run("return document.activeElement.matches('#now-correct summary')")
        # A row of the list whose menu is open stays until it is closed.
        browser.find(f"{row} summary").click()
        browser.wait(CHOOSING)
        for seq in range(3, 15):
            say(speaker, seq, "calm")
        browser.wait("document.querySelectorAll('#recent li').length === 9")
        assert browser.run(f"return {CHOOSING}")
        browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        browser.run("document.activeElement.blur()")
        say(speaker, 15, "calm")
        browser.wait("document.querySelectorAll('#recent li').length === 8")
        assert browser.all(row) == []
        assert browser.console_errors() == []


def test_a_correction_undone_elsewhere_disappears(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", None)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/room/attic")
        browser.wait_text("#link-text", "live")
        event = say(speaker, 1, "happy")
        notes = f"[data-event='{event.id}'] .correct-note"
        browser.wait("document.querySelectorAll(arguments[0]).length === 2", notes)
        for corrected, shown in (("sad", "really sad"), (None, "")):
            fields = json.loads(state(event)) | {"event_id": event.id, "corrected": corrected}
            speaker.publish("serd/attic/state", json.dumps(fields).encode(), retain=True)
            browser.wait(
                "[...document.querySelectorAll(arguments[0])]"
                ".every((note) => note.textContent === arguments[1])",
                notes,
                shown,
            )
        # One that is only in the answer of a request: the answer has the others too.
        browser.run(
            "return import('./static/correct.js').then(({ know }) =>"
            " know({ [arguments[0]]: 'angry' }))",
            event.id,
        )
        browser.wait_text(notes, "really angry")
        browser.run("location.hash = '#/history'")
        browser.wait("document.querySelectorAll('#history-table tr').length === 1")
        browser.wait("document.querySelector(arguments[0]).textContent === ''", notes)
        assert browser.console_errors() == []


def test_the_switch_stays_in_place_and_messages_name_the_title(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", None)
    speaker.publish("serd/attic/state", state(None, name="Below the roof"), retain=True)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/room/attic")
        browser.wait_text("#mute-label", "Microphone open")
        button = browser.find("#mute")
        place = button.rect
        button.click()
        speaker.wait_for("serd/attic/mute/set", b"ON")
        browser.wait("document.querySelector('#mute-note').textContent === 'Closing\u2026'")
        assert button.rect == place
        browser.wait_text("#mute-note", "Below the roof has not confirmed within 5 s")
        assert button.rect == place


def test_strange_figures_and_addresses_do_not_break_the_page(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    strange = {"condition": 7, "trouble": 1, "version": 2, "events": "many", "rss_mb": True}
    publish_node(speaker, "attic", None)
    speaker.publish("serd/attic/telemetry", json.dumps(strange).encode(), retain=True)
    speaker.publish("serd/silent/speech", b"OFF", retain=True)  # its status never comes
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/room/attic")
        browser.wait_text("#health", "not known yet")
        browser.wait_text("#mute-label", "Microphone open")
        assert browser.run("return import('./static/words.js').then(({ tr }) => tr(7))") == "7"
        browser.run("location.hash = '#/room/silent'")
        browser.wait_text("#pills", "not known yet")
        assert "online" not in browser.text("#pills")
        browser.run("location.hash = '#/room/%'")
        browser.wait_text("#room-title", "%")
        browser.run("location.hash = '#/rooms'")
        browser.wait("!document.querySelector('#rooms').hidden")
        assert browser.text("#rooms-sum") == "2 rooms \u00b7 1 online"
        browser.find("#filter").send_keys("online")
        browser.wait("document.querySelectorAll('.tile').length === 1")
        assert browser.console_errors() == []


def test_escape_and_a_second_room(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", made_event("attic", 1, now_ms() - 5000))
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        browser.open(dash.url)
        browser.wait_text("#room-title", "attic")
        browser.driver.execute_async_script("setTimeout(arguments[0], 3500)")
        publish_node(speaker, "cellar", None)
        browser.wait("document.querySelectorAll('.tile').length === 2")
        assert browser.run("return document.querySelector('#main').dataset.view") == "room"
        assert browser.text("#room-title") == "attic"
        for control in ("#day .scrub", "#day-range input"):
            browser.run("location.hash = '#/room/attic'")
            browser.wait("!document.querySelector('#room').hidden")
            browser.run("document.querySelector(arguments[0]).focus()", control)
            browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
            browser.wait("location.hash === '#/rooms'")
        # The start page is the list again, when it is asked for.
        browser.find(".brand").click()
        browser.wait("!document.querySelector('#rooms').hidden")
        assert browser.run("return document.querySelector('#main').dataset.view") == "rooms"
        assert browser.console_errors() == []


def test_a_wrong_clock_of_the_viewer(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", made_event("attic", 1, now_ms() - 65_000))
    later = "const now = Date.now; Date.now = () => now() + 7_200_000;"
    added = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": later}
    )
    try:
        with Dashboard(tmp_path, broker.port) as dash:
            browser.open(f"{dash.url}#/room/attic")
            browser.wait_text("#mute-label", "Microphone open")
            assert browser.text("#pills") == "online"
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_the_page_says_when_too_many_browsers_are_connected(
    tmp_path: Path, broker: Mosquitto, browser: Browser
) -> None:
    with Dashboard(tmp_path, broker.port) as dash:
        stream = b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.ExitStack() as stack:
            for _ in range(BROWSERS_MAX):
                (connection,) = stack.enter_context(idle(dash.url, 1, stream))
                assert connection.recv(12) == b"HTTP/1.1 200"
            browser.open(dash.url)
            browser.wait_text("#notice", "Too many browsers are connected")
            browser.wait_text("#link-text", "not connected")
        browser.wait_text("#link-text", "live")


def test_the_reason_may_be_a_question(tmp_path: Path, broker: Mosquitto, browser: Browser) -> None:
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        broker.stop()
        browser.open(dash.url)
        browser.wait_text("#notice", "is a broker running at")
        assert "? What you see may be outdated." in browser.text("#notice")
