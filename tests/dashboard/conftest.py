"""A broker per test, and one browser for all tests, since it takes seconds to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker import Mosquitto, Recorder, mosquitto
from tests.dashboard.running import DESKTOP, Browser, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def speaker(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port) as recorder:
        yield recorder


@pytest.fixture(scope="session")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """The browser, reset: no cookies, a large light screen, English, no console errors."""
    shared_browser.driver.delete_all_cookies()
    shared_browser.size(*DESKTOP)
    shared_browser.prefer("light")
    shared_browser.set_language("en")
    shared_browser.console_errors()
    yield shared_browser
    shared_browser.open("about:blank")
