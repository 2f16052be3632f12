"""German is complete, a new language needs only a file, and machine-readable text is English."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from serd import language
from serd.config.fields import node_name_from
from serd.events.state import MICROPHONE_STATES
from serd.language import accepted, catalogue, chosen, many
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.mqtt.discovery import discovery_payload
from serd.mqtt.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]


@pytest.mark.parametrize("name", language.languages()[1:])
def test_every_language_is_complete(name: str) -> None:
    words = catalogue(name).words
    german = catalogue("de").words
    assert words.keys() == german.keys()
    assert all(words.values())
    assert {*EMOTIONS, UNCERTAIN, *MICROPHONE_STATES, "offline", "unknown"} <= words.keys()


@pytest.mark.parametrize(
    ("setting", "env", "language_"),
    [
        (None, {"LANG": "de_AT.UTF-8"}, "de"),
        (None, {"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, "en"),
        (None, {"LANG": "de_DE.UTF-8", "LC_ALL": ""}, "de"),
        (None, {"LANG": "tlh"}, "en"),
        (None, {}, "en"),
        ("de", {"LANG": "C"}, "de"),
        ("en", {"LANG": "de_DE"}, "en"),
    ],
)
def test_the_setting_takes_precedence_over_the_environment(
    setting: str | None, env: dict[str, str], language_: str
) -> None:
    assert chosen(setting, env).language == language_


def test_the_language_preferred_by_the_browser_is_chosen() -> None:
    assert accepted("fr, en;q=0.7, de-CH;q=0.9") == "de"
    assert accepted("") == accepted("*;q=x") == "en"


def test_a_new_language_needs_only_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eo.po").write_text(
        'msgid ""\nmsgstr ""\n\n# word\nmsgid "happy"\nmsgstr "feli"\n"ĉa"\n\n'
        '#, fuzzy\nmsgid "sad"\nmsgstr "?"\n\nmsgid "calm"\nmsgstr ""\n'
    )
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    catalogue.cache_clear()
    words = chosen("eo")
    assert [words.gettext(word) for word in ("happy", "sad", "calm")] == ["feliĉa", "sad", "calm"]
    catalogue.cache_clear()


def test_home_assistant_labels_are_translated_but_not_ids() -> None:
    def components(words: language.Catalogue | None) -> dict[str, dict[str, str]]:
        payload = discovery_payload(
            Topics("serd", "kueche"), version="1", telemetry_s=60, name="Küche", words=words,
            sensitivity=True, corrections=True,
        )  # fmt: skip
        found: dict[str, dict[str, str]] = json.loads(payload)["cmps"]
        assert json.loads(payload)["dev"]["name"] == "Küche"
        return found

    english, german = components(None), components(catalogue("de"))
    for key, component in german.items():
        for same in ("unique_id", "default_entity_id", "p"):
            assert component[same] == english[key][same]
    assert german["mood"]["name"] == "Stimmung"
    assert "wütend" in german["emotion"]["options"]
    assert german["event"]["event_types"] == english["event"]["event_types"]
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment()
    environment.filters["to_json"] = json.dumps  # Home Assistant's own
    for value, shown in (("angry", "wütend"), ("of later", "of later"), (None, "None")):
        template = environment.from_string(german["emotion"]["value_template"])
        assert template.render(value_json={"emotion": value}) == shown
    template = environment.from_string(german["condition"]["value_template"])
    assert template.render(value_json={"condition": "listening"}) == "hört zu"
    for key, state, word, command in (
        ("sensitivity", "low", "niedrig", "low"),
        ("correct", {"corrected": "sad"}, "traurig", '{"id": "7", "emotion": "sad"}'),
    ):
        select = german[key]
        assert word in select["options"]
        template = environment.from_string(select["value_template"])
        assert template.render(value=state, value_json=state) == word
        template = environment.from_string(select["command_template"])
        assert template.render(value=word, this={"attributes": {"event_id": "7"}}) == command


@pytest.mark.parametrize(
    ("title", "node"),
    [("Küche", "kueche"), ("Großes Büro", "grosses-buero"), ("Café 2", "cafe-2")],
)
def test_a_node_name_is_derived_from_its_title(title: str, node: str) -> None:
    assert node_name_from(title) == node


def test_singular_and_plural() -> None:
    assert many(1, "event", "events") == "1 event"
    assert many(0, "event", "events") == "0 events"
    assert many(1200, "event", "events") == "1,200 events"
