"""A real ``serd dashboard`` process, and a real Chromium that looks at it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.broker import TIMEOUT_S
from tests.system.node import environment, serd_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

PATIENCE_S = 90.0
"""How long a page or a process may take; generous, since it only costs when it fails."""

DESKTOP = (1280, 900)
PHONE = (390, 844)


class Dashboard:
    """``serd dashboard`` in the background; a context manager that ends it whatever happens."""

    def __init__(
        self, home: Path, port: int, *arguments: str, env: dict[str, str] | None = None
    ) -> None:
        self.command = serd_command(
            "--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={port}",
            "--set", f"journal.path={home / 'journal.db'}", "dashboard", "--port", "0", *arguments,
        )  # fmt: skip
        self._home = home
        self._env = environment(home, env)
        self.log: list[str] = []
        self.url = ""
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command,
            cwd=self._home,
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="dashboard-log")
        self._reader.start()
        self.wait_log("dashboard at ")
        found = re.search(r"dashboard at (\S+);", "\n".join(self.log))
        assert found, self.log
        self.url = found[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(TIMEOUT_S)

    def wait_log(self, text: str) -> None:
        """Wait until its log contains the text."""
        with self._news:
            self._news.wait_for(
                lambda: any(text in line for line in self.log) or not self._reader.is_alive(),
                PATIENCE_S,
            )
            assert any(text in line for line in self.log), self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.log.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def find_chromium() -> tuple[str, str]:
    """Browser and driver; skips the test where they are absent."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (apt: chromium chromium-driver)")
    return browser, driver


class Browser:
    """One Chromium window."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def size(self, width: int, height: int) -> None:
        """Make the window as large as that screen; below 500 pixels it is a phone."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def prefer(self, scheme: str, *, motion: str = "no-preference") -> None:
        """What the system prefers: dark or light."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def speak(self, language: str) -> None:
        """Prefer a language, as the browser's settings say."""
        agent = self.run("return navigator.userAgent")
        self.driver.execute_cdp_cmd(
            "Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language}
        )

    def open(self, url: str) -> None:
        """Go to a page."""
        self.driver.get(url)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page; it may return something."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        """The first element that a selector finds."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[WebElement]:
        """All that a selector finds."""
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        """The text of an element, also of a hidden one."""
        return str(
            self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
        )

    def wait(self, script: str, *arguments: object) -> Any:
        """Wait until an expression of the page is true; what it was then."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1).until(
            lambda _: self.run(f"return ({script})", *arguments),
            f"never so: {script} {arguments}",
        )

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element's text contains something."""
        self.wait(
            "(document.querySelector(arguments[0])?.textContent ?? '').includes(arguments[1])",
            selector,
            text,
        )

    def complaints(self) -> list[str]:
        """What the console has said since this was asked last: errors, refused resources."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] in {"SEVERE", "WARNING"}
        ]

    def axe(self) -> list[str]:
        """Serious and critical findings of axe-core, each in a line."""
        self.run(axe_script())
        result = self.driver.execute_async_script(
            "const done = arguments[0];axe.run(document, {resultTypes: ['violations']}).then(done);"
        )
        return [
            f"{found['impact']} {found['id']}: {node['target']} {node['failureSummary']}"
            for found in result["violations"]
            if found["impact"] in {"serious", "critical"}
            for node in found["nodes"]
        ]


def axe_script() -> str:
    """axe-core: of the file that $AXE_JS names, else of the Python package."""
    named = os.environ.get("AXE_JS")
    if named:
        return Path(named).read_text()
    package = pytest.importorskip("selenium_axe_python", reason="selenium-axe-python is missing")
    return resources.files(package).joinpath("axe-core/axe.min.js").read_text()


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A headless Chromium for the time of a ``with`` block."""
    program, driver = find_chromium()
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
        "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-GB",
        f"--user-data-dir={folder / 'chromium'}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    env = {**os.environ, "HOME": str(folder), "LANGUAGE": "en_GB"}
    service = webdriver.ChromeService(executable_path=driver, env=env)
    with webdriver.Chrome(options=options, service=service) as started:
        started.set_script_timeout(60)
        started.execute_cdp_cmd("Emulation.setLocaleOverride", {"locale": "en-GB"})
        yield Browser(started)


def events_of(text: str) -> list[tuple[str, Any]]:
    """Server-sent events in a text."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found
