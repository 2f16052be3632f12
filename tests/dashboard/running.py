"""A real ``serd dashboard`` process, and a real Chromium to view it."""

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
"""How long a page or a process may take; generous, since only a failing test waits that long."""

DESKTOP = (1280, 900)
PHONE = (390, 844)


class Dashboard:
    """``serd dashboard`` in the background; a context manager that always ends it."""

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
        self._changed = threading.Condition()

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
        """Send a signal; returns the exit code."""
        self.process.send_signal(how)
        return self.process.wait(TIMEOUT_S)

    def wait_log(self, text: str) -> None:
        """Wait until its log contains the text."""
        with self._changed:
            self._changed.wait_for(
                lambda: any(text in line for line in self.log) or not self._reader.is_alive(),
                PATIENCE_S,
            )
            assert any(text in line for line in self.log), self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.log.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def find_chromium() -> tuple[str, str]:
    """Browser and driver; skips the test if they are not installed."""
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
        """Emulate a screen of this size; below 500 pixels it is a phone."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def prefer(self, scheme: str, *, motion: str = "no-preference") -> None:
        """Emulate the system's colour scheme and motion preference."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def set_language(self, language: str) -> None:
        """Set the browser's preferred language."""
        agent = self.run("return navigator.userAgent")
        self.driver.execute_cdp_cmd(
            "Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language}
        )

    def open(self, url: str) -> None:
        """Open a page."""
        self.driver.get(url)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page; returns its result."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        """The first element that matches a selector."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[WebElement]:
        """All elements that match a selector."""
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        """The text of an element, also of a hidden one."""
        return str(
            self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
        )

    def wait(self, script: str, *arguments: object) -> Any:
        """Wait until an expression is true in the page; returns its value."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1).until(
            lambda _: self.run(f"return ({script})", *arguments),
            f"never true: {script} {arguments}",
        )

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element's text contains the given text."""
        self.wait(
            "(document.querySelector(arguments[0])?.textContent ?? '').includes(arguments[1])",
            selector,
            text,
        )

    def console_errors(self) -> list[str]:
        """Console errors and warnings since the last call."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] in {"SEVERE", "WARNING"}
        ]

    def axe(self) -> list[str]:
        """Serious and critical findings of axe-core, one per line."""
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
    """axe-core, from the file in $AXE_JS or else from the Python package."""
    named = os.environ.get("AXE_JS")
    if named:
        return Path(named).read_text()
    package = pytest.importorskip("selenium_axe_python", reason="selenium-axe-python is missing")
    return resources.files(package).joinpath("axe-core/axe.min.js").read_text()


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run a headless Chromium inside a ``with`` block."""
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
    """Parse server-sent events."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found
