"""The page in a real Chromium, with a real broker and a real daemon."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from serd.audio import SAMPLE
from serd.events.corrections import CorrectionStore
from serd.events.event import encode
from serd.events.journal import Journal
from serd.language import catalogue
from tests.dashboard.fakes import TOKEN
from tests.dashboard.making import (
    made_day,
    made_event,
    names,
    now_ms,
    publish_many,
    publish_node,
    state,
)
from tests.dashboard.running import DESKTOP, PHONE, Browser, Dashboard
from tests.system.node import Node
from tests.system.test_corrections import listening_node, play_and_wait, send_correction

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

pytestmark = [pytest.mark.broker, pytest.mark.browser, pytest.mark.slow]


def test_a_live_event_appears(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", None)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(dash.url)
        browser.wait_text("#room-title", "attic")  # the only room is opened at once
        browser.wait_text("#link-text", "live")
        took = []
        for seq, emotion in enumerate(("happy", "angry", "calm", "sad", "surprised"), 1):
            event = made_event("attic", seq, now_ms() - 2000, emotion, share=0.8)
            browser.run(
                "globalThis.shownAt = null; new MutationObserver((_, o) => {"
                " if (document.querySelector('#now-emotion').textContent === arguments[0])"
                " { globalThis.shownAt = Date.now(); o.disconnect(); } })"
                ".observe(document.querySelector('#now-emotion'), {childList: true});",
                emotion,
            )
            sent_ms = time.time() * 1000
            speaker.publish("serd/attic/emotion", encode(event))
            took.append(browser.wait("globalThis.shownAt") - sent_ms)
        print("published to shown, ms:", [round(ms) for ms in took])
        assert browser.text("#now-sure").startswith("80%")
        browser.wait("document.querySelectorAll('#recent li').length === 5")
        assert browser.all("#scores .lead .score-name")[0].text == "surprised"
        browser.wait("document.querySelectorAll('#day .band').length > 0")
        assert browser.console_errors() == []


def test_the_history_view(tmp_path: Path, broker: Mosquitto, browser: Browser) -> None:
    day = made_day("attic", now_ms())
    with Journal(tmp_path / "journal.db") as journal:
        journal.append_many(day)
    count = {name: sum(event.emotion == name for event in day) for name in ("angry", "happy")}
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/history")
        browser.wait_text("#history-sum", f"{len(day):,} utterances")
        assert len(browser.all("#history-mood .band")) > 2
        assert len(browser.all("#history-rows .strip")) == 9
        assert len(browser.all("#history-table tr")) == 100
        browser.find("#history-more").click()
        assert len(browser.all("#history-table tr")) == 200
        browser.run("document.querySelector('#query-emotions input[value=angry]').click()")
        browser.wait_text("#history-sum", f"{count['angry']:,} utterances")
        assert len(browser.all("#history-rows .strip")) == 1
        # With the keyboard: a slider selects a moment of the band and announces its values.
        slider = browser.find("#history-mood .scrub")
        slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
        assert slider.get_attribute("value") == "1"
        assert ":" in (slider.get_attribute("aria-valuetext") or "")
        browser.find("#history-mood summary").click()
        browser.wait("document.querySelectorAll('#history-mood tbody tr').length > 0")
        link = browser.find("#history-json").get_attribute("href") or ""
        assert "emotion=angry" in link
        assert browser.console_errors() == []


def test_history_opens_with_a_fitting_range(
    tmp_path: Path, broker: Mosquitto, browser: Browser
) -> None:
    """The range fits a few recent events; a range that the user has chosen is kept."""
    now = now_ms()
    with Journal(tmp_path / "journal.db") as journal:
        journal.append_many([made_event("attic", seq, now - seq * 60_000) for seq in (3, 2, 1)])
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/history")
        browser.wait_text("#history-sum", "3 utterances")
        assert browser.run("return document.querySelector('#query-range').value") == "900000"
        browser.run(
            "const range = document.querySelector('#query-range'); range.value = '604800000';"
            "range.dispatchEvent(new Event('change', {bubbles: true}));"
        )
        browser.find("[data-nav=rooms]").click()
        browser.find("[data-nav=history]").click()
        browser.wait_text("#history-sum", "3 utterances")
        assert browser.run("return document.querySelector('#query-range').value") == "604800000"
        assert browser.console_errors() == []


SHOWN = """
const texts = new Set([document.title]);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) texts.add(walker.currentNode.textContent.trim());
for (const name of ["aria-label", "placeholder", "aria-valuetext", "title"]) {
  for (const node of document.querySelectorAll(`[${name}]`)) texts.add(node.getAttribute(name));
}
return [...texts];
"""


def test_the_whole_page_is_german(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    english = {text for text, german in catalogue("de").words.items() if text != german}
    with Journal(tmp_path / "journal.db") as journal:
        journal.append_many(made_day("attic", now_ms())[::60])
    browser.set_language("de")
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        publish_node(speaker, "attic", made_event("attic", 1, now_ms() - 2000, "happy"))
        publish_node(speaker, "cellar", None, online=False)
        shown: set[str] = set()
        for view, ready in {
            "#/rooms": "document.querySelectorAll('.tile').length === 2",
            "#/room/cellar": "!document.querySelector('#forget').hidden",
            "#/room/attic": "document.querySelectorAll('#recent li').length > 0",
            "#/history": "document.querySelectorAll('#history-table tr').length > 10",
        }.items():
            browser.open("about:blank")
            browser.open(dash.url + view)
            browser.wait(ready)
            browser.wait_text("#link-text", "live")
            browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
            shown |= set(browser.run(SHOWN))
        assert browser.run("return document.documentElement.lang") == "de"
        assert {"Räume", "Verlauf", "fröhlich", "Diesen Raum vergessen", "Äußerungen"} <= shown
        assert shown & english == set()
        english_words = re.compile(
            r"\b(the|of|is|and|rooms?|utterances?|ago|microphone|heard)\b", re.IGNORECASE
        )
        assert [text for text in shown if english_words.search(text)] == []
        # Errors from the server are in English; the page translates those that it knows.
        speaker.publish("serd/attic/status", b"offline", retain=True)
        browser.open(f"{dash.url}#/room/attic")
        browser.wait("document.querySelector('#mute').disabled")
        message = browser.run(
            "return import('./static/link.js').then(({ send }) =>"
            " send('api/nodes/attic/mute', { muted: true }).catch((error) => error.message))"
        )
        assert message == "attic ist offline und würde den Befehl nicht empfangen"


def test_mute_reaches_the_daemon_and_is_confirmed(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    with (
        # --keep, so that the room remains when the recording ends.
        Node(tmp_path, broker.port, "--source", str(SAMPLE), "--keep", node="attic") as node,
        Dashboard(tmp_path, broker.port) as dash,
    ):
        speaker.wait_for("serd/attic/mute", b"OFF")
        browser.open(dash.url)
        browser.wait_text("#mute-label", "Microphone open")
        browser.wait_text("#now-sure", "%")  # the sample is being classified
        button = browser.find("#mute")
        assert button.get_attribute("aria-checked") == "true"
        button.send_keys(Keys.SPACE)
        speaker.wait_for("serd/attic/mute/set", b"ON")
        node.wait_log("the microphone is closed")
        browser.wait_text("#mute-label", "Microphone closed")
        browser.wait("!document.querySelector('#mute').hasAttribute('aria-busy')")
        assert button.get_attribute("aria-checked") == "false"
        browser.wait_text("#pills", "muted")
        browser.wait("document.querySelector('#mute-note').textContent === ''")
        button.click()
        speaker.wait_for("serd/attic/mute/set", b"OFF")
        browser.wait_text("#mute-label", "Microphone open")
        assert node.stop() == 0
        browser.wait_text("#pills", "offline")
        assert not button.is_enabled()
        assert browser.console_errors() == []


def test_corrections_by_mouse_and_keyboard_and_undo(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    store = CorrectionStore(tmp_path / "journal.db")

    def stored() -> list[str]:
        return [one.words for one in store.all()]

    with (
        listening_node(tmp_path, broker.port) as (node, voice),
        Dashboard(tmp_path, broker.port) as dash,
    ):
        event = play_and_wait(speaker, voice)[4]
        browser.open(dash.url)
        browser.wait_text("#room-title", "test-room")
        row = f"#recent [data-event='{event['id']}']"
        browser.wait("document.querySelector(arguments[0]) !== null", f"{row} summary")
        # By mouse.
        browser.find(f"{row} summary").click()
        browser.wait("document.activeElement.classList.contains('choice')")
        browser.find(f"{row} .choice.emo-happy").click()
        browser.wait_text(f"{row} .correct-note", "really happy")
        assert stored() == ["happy"]
        # The page still shows it after a reload.
        browser.driver.refresh()
        browser.wait_text(f"{row} .correct-note", "really happy")
        # By keyboard; the focus then moves to the undo button.
        browser.find(f"{row} summary").send_keys(Keys.ENTER)
        browser.wait("document.activeElement.classList.contains('choice')")
        browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        browser.wait("document.activeElement.tagName === 'SUMMARY'")
        assert browser.run("return location.hash") != "#/rooms"
        browser.find(f"{row} summary").send_keys(Keys.SPACE)
        browser.wait("document.activeElement.classList.contains('choice')")
        browser.driver.switch_to.active_element.send_keys("4")
        browser.wait_text(f"{row} .correct-note", "really sad")
        assert stored() == ["sad"]
        browser.wait("document.activeElement.classList.contains('correct-undo')")
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
        browser.wait_text(f"{row} .correct-note", "really happy")
        assert stored() == ["happy"]
        browser.find(f"{row} .correct-undo").click()
        browser.wait(
            "document.querySelector(arguments[0]).textContent === ''", f"{row} .correct-note"
        )
        assert stored() == []
        assert not browser.find(f"{row} .correct-undo").is_displayed()
        # The latest utterance too, in the large display; and a correction made elsewhere.
        browser.find("#now-correct summary").click()
        browser.wait("document.activeElement.classList.contains('choice')")
        assert browser.axe() == []
        browser.driver.switch_to.active_element.send_keys("1")
        browser.wait_text("#now-correct .correct-note", "really neutral")
        assert stored() == ["neutral"]
        other = {"id": event["id"], "emotion": "disgust"}
        assert send_correction(speaker, other)["ok"]
        browser.run("location.hash = '#/history'")
        selector = f"#history-table [data-event='{event['id']}'] .correct-note"
        browser.wait_text(selector, "really disgust")
        assert browser.console_errors() == []
        assert node.stop() == 0


def test_an_unconfirmed_command(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", None)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(dash.url)
        browser.wait_text("#mute-label", "Microphone open")
        browser.find("#mute").click()
        browser.wait("document.querySelector('#mute').getAttribute('aria-busy') === 'true'")
        assert browser.text("#mute-note") == "Closing…"
        browser.wait_text("#mute-note", "attic has not confirmed within 5 s")
        assert browser.find("#mute").get_attribute("aria-checked") == "true"


def test_login_with_the_token(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", None)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    arguments = ("--host", "0.0.0.0", "--token-file", str(token))
    with Dashboard(tmp_path, broker.port, *arguments) as dash:
        url = dash.url.replace("0.0.0.0", "127.0.0.1")
        browser.open(url)
        assert browser.driver.current_url == f"{url}login"
        assert "attic" not in browser.driver.page_source
        assert browser.run("return document.activeElement.id") == "token"
        assert browser.axe() == []
        browser.find("#token").send_keys("not the token at all", Keys.ENTER)
        browser.wait("document.documentElement.dataset.why === 'wrong'")
        assert browser.find(".why.wrong").is_displayed()
        assert not browser.find(".why.slow").is_displayed()
        browser.find("#token").send_keys(TOKEN, Keys.ENTER)
        browser.wait_text("#room-title", "attic")
        assert TOKEN not in browser.driver.current_url
        (cookie,) = browser.driver.get_cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert browser.run("return document.cookie") == ""
        console_errors = browser.console_errors()  # only for the wrong token
        assert all("401" in line for line in console_errors), console_errors
        browser.find("#logout button").click()
        browser.wait("location.pathname === '/login'")
        browser.open(url)
        assert browser.driver.current_url == f"{url}login"


def test_the_page_reconnects(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "attic", None)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(dash.url)
        browser.wait_text("#link-text", "live")
        broker.stop()
        browser.wait_text("#notice", "No connection to the MQTT broker")
        broker.start()
        browser.wait_text("#link-text", "live")
        assert not browser.find("#notice").is_displayed()
        port = dash.url.rstrip("/").rpartition(":")[2]
        assert dash.stop() == 0
        browser.wait_text("#notice", "Connection to the dashboard lost")
        assert browser.find("#notice").is_displayed()
    with Dashboard(tmp_path, broker.port, "--port", port) as dash:
        browser.wait_text("#link-text", "live")
        assert not browser.find("#notice").is_displayed()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_no_serious_issues(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser, size: tuple[int, int]
) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        journal.append_many(made_day("attic-01", now_ms())[::60])
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        publish_many(speaker, 20)
        browser.size(*size)
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            for view, ready in {
                "#/rooms": "document.querySelectorAll('.tile').length === 20",
                "#/room/attic-02": "document.querySelectorAll('#recent li').length > 0",
                "#/history": "document.querySelectorAll('#history-table tr').length > 30",
            }.items():
                browser.open("about:blank")
                browser.open(dash.url + view)
                browser.wait(ready)
                assert browser.run("return document.documentElement.dataset.theme") == scheme
                browser.run(
                    "document.querySelectorAll('details').forEach((d) => { d.open = true })"
                )
                assert browser.axe() == [], (scheme, view)
                width = browser.run("return document.documentElement.scrollWidth")
                assert width <= size[0], (view, "scrolls sideways")
        assert browser.console_errors() == []


def test_keyboard_navigation(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_many(speaker, 3)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(dash.url)
        browser.wait("document.querySelectorAll('.tile').length === 3")
        body = browser.find("body")
        body.send_keys(Keys.TAB)
        assert browser.run("return document.activeElement.className") == "skip"
        assert browser.find(".skip").rect["y"] >= 0
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
        assert browser.run("return document.activeElement.id") == "main"
        seen = []
        for _ in range(3):
            browser.driver.switch_to.active_element.send_keys(Keys.TAB)
            seen.append(browser.run("const e = document.activeElement; return e.id || e.className"))
        assert seen == ["filter", "sort", "tile"]
        outline = browser.run("return getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px"
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
        browser.wait("document.activeElement.id === 'room-title'")
        assert browser.text("#room-title") == "kitchen-01"
        browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        browser.wait("location.hash === '#/rooms'")
        for theme in ("light", "dark", "auto"):
            browser.find("#theme").click()
            assert browser.text("#theme") == f"Theme: {theme}"
        browser.prefer("light", motion="reduce")
        browser.open(f"{dash.url}#/room/kitchen-01")
        moving = "return document.getAnimations().filter((a) => a.playState === 'running').length"
        assert browser.run(moving) == 0


def test_the_page_stays_usable_with_a_hundred_nodes(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        publish_many(speaker, 100)
        browser.open(f"{dash.url}#/rooms")
        browser.wait("document.querySelectorAll('.tile').length === 100")
        assert browser.text("#rooms-sum").startswith("100 rooms")
        elements = browser.run("return document.querySelectorAll('*').length")
        browser.run(
            "globalThis.seen = {changes: 0, frames: 0,"
            " tiles: new Set(document.querySelectorAll('.tile'))};"
            "new MutationObserver((list) => { seen.changes += list.length; seen.frames += 1; })"
            ".observe(document.querySelector('#tiles'),"
            " {childList: true, subtree: true, attributes: true, characterData: true});"
        )
        sent = 0
        for seq in range(2, 12):  # a thousand events
            for name in names(100):
                emotion = ("calm", "angry")[seq % 2]
                event = made_event(name, seq, now_ms() - 2000, emotion, share=0.7)
                speaker._client.publish(f"serd/{name}/emotion", encode(event), qos=1)
                sent += 1
        last = names(100)[-1]
        browser.wait(
            "[...document.querySelectorAll('.tile')].every((t) => t.textContent.includes('angry')"
            " || t.dataset.state === 'offline')"
        )
        changes = browser.run("return [seen.changes, seen.frames]")
        print(f"{sent} events: {changes[0]} changes of the page in {changes[1]} batches")
        # Tiles are updated in place, and in a tile only face, text and time change.
        assert browser.run(
            "return [...document.querySelectorAll('.tile')].every((t) => seen.tiles.has(t))"
        )
        assert browser.run("return document.querySelectorAll('*').length") < elements + 500
        assert changes[0] < 6 * sent

        box = browser.find("#filter")
        box.send_keys(last)
        browser.wait("document.querySelectorAll('.tile').length === 1")
        box.send_keys(Keys.ESCAPE)
        browser.wait("document.querySelectorAll('.tile').length === 100")
        box.send_keys("offline")
        browser.wait("document.querySelectorAll('.tile').length === 6")
        box.clear()
        box.send_keys(" ", Keys.BACKSPACE)
        browser.run(
            "const s = document.querySelector('#sort'); s.value = 'heard';"
            " s.dispatchEvent(new Event('change'))"
        )
        event = made_event(last, 20, now_ms(), "happy", share=0.9)
        speaker.publish(f"serd/{last}/emotion", encode(event))
        browser.wait("document.querySelector('.tile-name').textContent === arguments[0]", last)
        browser.find(".tile").click()
        browser.wait_text("#room-title", last)
        assert len(browser.all(".tile")) == 100  # the tiles stay beside the room
        assert browser.console_errors() == []


def test_hostile_text_is_not_interpreted_as_markup(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    evil = '<img src=x onerror="globalThis.owned=1"><script>globalThis.owned=1</script>'
    event = made_event("attic", 1, now_ms() - 2000)
    event = replace(event, model=replace(event.model, name=evil, version=evil))
    strange = ("condition", "trouble", "version", "uptime_s", "events", "latency_ms", "waiting")
    figures = dict.fromkeys(strange, evil)
    with Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connected to the broker")
        for payload in (b"\xff\xfe", b"{", b"[" * 5000, b"null", b""):
            for kind in ("emotion", "state", "telemetry", "status", "mute", "speech"):
                speaker.publish(f"serd/attic/{kind}", payload)
        publish_node(speaker, "attic", None)
        speaker.publish("serd/attic/telemetry", json.dumps(figures).encode(), retain=True)
        speaker.publish("serd/attic/emotion", encode(event))
        for topic in (f"serd/{evil.replace('/', '')}/status", "serd/__proto__/status",
                      "serd/constructor/status"):  # fmt: skip
            speaker.publish(topic, b"online", retain=True)
        browser.open(f"{dash.url}#/room/attic")
        browser.wait_text("#health", evil)
        browser.open(f"{dash.url}#/history")
        browser.wait("document.querySelectorAll('#history-table tr').length === 1")
        assert "<img" not in browser.text("#history-table")
        browser.open(f"{dash.url}#/rooms")
        browser.wait("document.querySelectorAll('.tile').length === 3")
        browser.open(f"{dash.url}#/room/%3Cimg src=x onerror=globalThis.owned=1%3E")
        browser.wait_text("#room-title", "<img")
        assert browser.run("return globalThis.owned ?? null") is None
        assert browser.all("main img, main script") == []
        assert browser.console_errors() == []


STATES = {
    "open": "Microphone open",
    "muted": "Microphone closed: muted",
    "quiet": "Microphone closed: quiet hours",
    "missing": "Microphone missing",
}


REASONS = {
    "quiet": "It opens when the quiet hours end.",
    "missing": "It opens when the microphone is back.",
}


def test_the_mute_switch_shows_the_state_of_the_node(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    for name in STATES:
        publish_node(speaker, name, None)
        # Not muted in quiet hours: the switch is off, and must not mute when it is pressed.
        payload = state(None, microphone=name, muted=name == "muted")
        speaker.publish(f"serd/{name}/state", payload, retain=True)
    publish_node(speaker, "away", None, online=False)
    speaker.publish("serd/silent/speech", b"OFF", retain=True)  # nothing else is known of it
    rooms = {**STATES, "away": "Offline", "silent": "not known", "nobody": "not known"}
    with Dashboard(tmp_path, broker.port) as dash:
        for name, words in rooms.items():
            browser.open(f"{dash.url}#/room/{name}")
            browser.wait_text("#link-text", "live")
            browser.wait_text("#mute-label", words)
            button = browser.find("#mute")
            assert (button.get_attribute("aria-checked") == "true") is (name == "open")
            assert button.is_enabled() is (name in {"open", "muted"})
            assert button.get_attribute("aria-describedby") == "mute-note"
            assert browser.text("#mute-note") == REASONS.get(name, "")
        browser.open(f"{dash.url}#/room/open")
        browser.wait_text("#mute-label", "Microphone open")
        broker.stop()
        browser.wait_text("#mute-label", "not known")


def test_a_room_can_be_forgotten(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder, browser: Browser
) -> None:
    publish_node(speaker, "kitchen", None)
    publish_node(speaker, "attic", None, online=False)
    speaker.publish("homeassistant/device/serd_attic/config", b"{}", retain=True)
    with Dashboard(tmp_path, broker.port) as dash:
        browser.open(f"{dash.url}#/room/kitchen")
        browser.wait_text("#pills", "online")
        assert not browser.find("#forget").is_displayed()
        browser.open(f"{dash.url}#/room/attic")
        browser.wait_text("#pills", "offline")
        browser.find("#forget-button").click()
        browser.wait_text("#forget-button", "Forget attic for good")
        browser.find("#forget-button").click()
        browser.wait("location.hash === '#/rooms'")
        browser.wait("document.querySelectorAll('.tile').length === 1")
        speaker.wait_for("homeassistant/device/serd_attic/config", b"")
        speaker.wait_for("serd/attic/status", b"")
        assert browser.console_errors() == []
