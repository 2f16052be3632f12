"""The page in the browser's language: every text it can show is translated."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from serd.dashboard.app import STATIC, translated_page
from serd.language import catalogue, languages
from tests.dashboard.fakes import TOKEN, World

if TYPE_CHECKING:
    from collections.abc import Iterator

UNTRANSLATED = {"serd", "CSV", "JSON"}
"""Names that are the same in every language."""

PAGES = ("index.html", "login.html")


def texts_of_pages() -> Iterator[str]:
    for name in PAGES:
        page = (STATIC / name).read_text()
        yield from (text.strip() for text in re.findall(r">([^<>]+)<", page))
        yield from re.findall(r' (?:aria-label|placeholder)="([^"]*)"', page)


def arguments(script: str, function: str) -> Iterator[str]:
    """The source text of the arguments in each call of a function."""
    for call in re.finditer(rf"\b{function}\(", script):
        depth, end = 1, call.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(script[end], 0)
            end += 1
        yield script[call.end() : end - 1]


def texts_of_scripts() -> Iterator[str]:
    for path in STATIC.glob("*.js"):
        script = path.read_text()
        lists = r"(?:MESSAGES|MICROPHONE|REASONS) = [\[{](.*?)[\]}];"
        listed = re.findall(lists, script, re.DOTALL)
        for text in (*arguments(script, "tr"), *arguments(script, "many"), *listed):
            for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
                yield literal.replace(r"\u2026", "\u2026")


@pytest.mark.parametrize("language", languages()[1:])
def test_every_text_of_the_page_is_translated(language: str) -> None:
    words = catalogue(language).words
    texts = {*texts_of_pages(), *texts_of_scripts()} - {""} - UNTRANSLATED
    assert len(texts) > 120
    assert {text for text in texts if not words.get(text)} == set()


@pytest.mark.parametrize("language", languages()[1:])
def test_translations_keep_the_values(language: str) -> None:
    for english, translated in catalogue(language).words.items():
        names = [sorted(re.findall(r"\{\w+\}", text)) for text in (english, translated)]
        assert names[0] == names[1], english


def test_the_language_follows_accept_language() -> None:
    client = TestClient(World(TOKEN).app, base_url="http://localhost")
    for header, language, text in (
        ("de-AT, en;q=0.5", "de", "Anmelden"),
        ("fr", "en", "Log in"),
        ("", "en", "Log in"),
    ):
        response = client.get("/login", headers={"accept-language": header})
        assert f'<html lang="{language}"' in response.text
        assert f">{text}</button>" in response.text
        assert response.headers["content-language"] == language
        assert response.headers["vary"] == "accept-language"
    wrong = client.post("/login", data={"token": "x" * 20}, headers={"accept-language": "de"})
    assert (wrong.status_code, 'data-why="wrong"' in wrong.text) == (401, True)
    assert "Falsches Token." in wrong.text


@pytest.mark.parametrize("name", PAGES)
def test_translation_changes_only_the_texts(name: str) -> None:
    """Apart from its texts and labels, a translated page is the original; in English, fully so."""
    page = (STATIC / name).read_text()

    def without_texts(text: str) -> str:
        text = re.sub(r' (aria-label|placeholder|lang)="[^"]*"', "", text)
        return re.sub(r">[^<>]+<", "><", text)

    german = translated_page(name, "de")
    assert without_texts(german) == without_texts(page)
    assert html.unescape(translated_page(name, "en")) == page
