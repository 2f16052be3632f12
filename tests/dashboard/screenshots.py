"""Screenshots for the documentation: ``python -m tests.dashboard.screenshots FOLDER``.

A real browser, dashboard and broker; the home is made up.
"""

from __future__ import annotations

import base64
import io
import random
import sys
import tempfile
from pathlib import Path

from PIL import Image

from serd.events.journal import Journal
from serd.model.emotions import EMOTIONS
from tests.broker import Recorder, mosquitto
from tests.dashboard.making import ROOMS, made_day, made_event, now_ms, publish_many, publish_node
from tests.dashboard.running import DESKTOP, PHONE, Browser, Dashboard, chromium

_VIEWS = {"room": f"#/room/{ROOMS[0]}", "history": "#/history"}
_SIZES = {"desktop": DESKTOP, "phone": PHONE}
_SHOWN = (("room", "desktop", "light"), ("room", "phone", "light"), ("history", "desktop", "dark"))
_LONGEST = {False: 1240, True: 960}  # pixels: on a phone, on a desktop


def shoot(browser: Browser, path: Path, *, full: bool = True) -> None:
    """Save the page as a PNG."""
    shot = browser.driver.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"format": "png", "captureBeyondViewport": full, "optimizeForSpeed": False}
        | ({"clip": _page(browser)} if full else {}),
    )
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    # Seven bits per channel: smaller files without a visible difference.
    picture.point([value & 0xFE | value >> 7 for value in range(256)] * 3).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} kB")


def _page(browser: Browser) -> dict[str, int]:
    size = browser.run(
        "const e = document.documentElement; return [e.clientWidth, document.body.scrollHeight]"
    )
    return {
        "x": 0,
        "y": 0,
        "width": size[0],
        "height": min(size[1], _LONGEST[size[0] > 500]),
        "scale": 1,
    }


def main(folder: Path) -> None:
    """Take all screenshots."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, chromium(Path(temporary)) as browser:
        browser.set_language("en-GB")
        _shoot_home(browser, folder, Path(temporary))
        _shoot_hundred(browser, folder, Path(temporary))


def _shoot_home(browser: Browser, folder: Path, home: Path) -> None:
    """Eight rooms, one of them with a day of events."""
    day = made_day(ROOMS[0], now_ms())
    with Journal(home / "journal.db") as journal:
        journal.append_many(day)
    rng = random.Random(11)
    with (
        mosquitto(home) as broker,
        Recorder(broker.port) as speaker,
        Dashboard(home, broker.port) as dashboard,
    ):
        dashboard.wait_log("connected to the broker")
        for number, name in enumerate(ROOMS):
            at = now_ms() - (6_000 if not number else rng.randrange(20_000, 6_000_000))
            emotion = "happy" if not number else rng.choice(EMOTIONS)
            share = 0.5 + 0.4 * rng.random()
            publish_node(
                speaker, name, made_event(name, len(day) + 1, at, emotion, share=share, rng=rng),
                online=number != 6, muted=number == 4, speech=number == 0,
                mood="happy" if not number else emotion,
            )  # fmt: skip
        for view, kind, scheme in _SHOWN:
            browser.prefer(scheme)
            browser.size(*_SIZES[kind])
            browser.open("about:blank")
            browser.open(dashboard.url + _VIEWS[view])
            settle(browser, view)
            shoot(browser, folder / f"dashboard-{view}-{kind}-{scheme}.png")
        _shoot_correction(browser, folder, f"{dashboard.url}{_VIEWS['room']}")


def _shoot_correction(browser: Browser, folder: Path, url: str) -> None:
    """The open list of corrections beside an utterance."""
    browser.prefer("light")
    browser.size(*DESKTOP)
    browser.open("about:blank")
    browser.open(url)
    settle(browser, "room")
    browser.find("#recent li:nth-child(2) summary").click()
    browser.wait("document.activeElement.classList.contains('choice')")
    browser.run("document.activeElement.blur()")
    browser.find("section:has(> #recent)").screenshot(str(folder / "dashboard-correct.png"))


def _shoot_hundred(browser: Browser, folder: Path, home: Path) -> None:
    with (
        mosquitto(home) as broker,
        Recorder(broker.port) as speaker,
        Dashboard(home, broker.port) as dashboard,
    ):
        publish_many(speaker, 100)
        browser.prefer("light")
        browser.size(*DESKTOP)
        browser.open(f"{dashboard.url}#/rooms")
        browser.wait("document.querySelectorAll('.tile').length >= 100")
        settle(browser, "rooms")
        shoot(browser, folder / "dashboard-hundred-desktop-light.png", full=False)


def settle(browser: Browser, view: str) -> None:
    """Wait until a view has drawn its data."""
    ready = {
        "rooms": "document.querySelectorAll('.tile').length > 5",
        "room": "document.querySelectorAll('#day .band').length > 2 "
        "&& document.querySelectorAll('#recent li').length > 5",
        "history": "document.querySelectorAll('#history-table tr').length > 5",
    }
    browser.wait(ready[view])
    browser.run("document.activeElement?.blur()")
    browser.driver.execute_async_script(
        "const done = arguments[0]; setTimeout(() => requestAnimationFrame(done), 450)"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/figures"))
