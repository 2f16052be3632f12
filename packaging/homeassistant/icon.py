"""Draws the add-on's icon and logo from the dashboard's own sign; `make addon` runs it. Needs chromium."""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SIGN = "M3 16h4l3-8 5 17 4-13 3 7 2-3h5"
LINE = f'<path d="{SIGN}" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/>'
TILE = '<rect width="32" height="32" rx="7" fill="#2f5fa8"/>'
WORD = (
    '<text x="40" y="22.5" font-family="DejaVu Sans, sans-serif" font-weight="700" font-size="20" '
    'fill="#2f5fa8">serd</text>'
)
PICTURES = {
    "icon.png": (128, 128, f'<svg viewBox="0 0 32 32">{TILE}{LINE}</svg>'),
    "logo.png": (250, 80, f'<svg viewBox="0 0 100 32">{TILE}{LINE}{WORD}</svg>'),
}


def main(folder: Path) -> None:
    """Draw both into a folder."""
    options = Options()
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=800,600"):
        options.add_argument(switch)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        transparent = {"color": {"r": 0, "g": 0, "b": 0, "a": 0}}
        driver.execute_cdp_cmd("Emulation.setDefaultBackgroundColorOverride", transparent)
        for name, (width, height, svg) in PICTURES.items():
            style = f"body{{margin:0}}svg{{display:block;width:{width}px;height:{height}px}}"
            page = f"<!doctype html><style>{style}</style>{svg}"
            driver.get(f"data:text/html;base64,{base64.b64encode(page.encode()).decode()}")
            (folder / name).write_bytes(
                driver.find_element("css selector", "svg").screenshot_as_png
            )
    finally:
        driver.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "serd")
