"""Writes the add-on's config.yaml and translations from serd's own schema; `make addon` runs it.

Options, ranges and English descriptions are those of the schema; serd/addon/supervisor.py lists the
keys that the add-on offers as options.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from serd.addon.supervisor import OFFERED, defaults, option_name, supervisor_schema
from serd.config.keys import KEYS
from serd.version import VERSION

HERE = Path(__file__).parent
HEAD = "# Generated from serd's schema by `make addon`; changes here are overwritten.\n"

NAMES = {
    "node": ("Name of this place", "Name dieses Ortes"),
    "mute": ("Start muted", "Stumm starten"),
    "decision.sensitivity": ("Sensitivity", "Empfindlichkeit"),
    "audio.gain_db": ("Gain (dB)", "Verstärkung (dB)"),
    "speech.engine": ("Speech detector", "Sprechdetektor"),
    "speech.aggressiveness": ("Strictness of the speech detector", "Strenge des Sprechdetektors"),
    "speech.min_level_dbfs": ("Lowest level (dBFS)", "Niedrigster Pegel (dBFS)"),
    "model.path": ("Model", "Modell"),
    "journal.keep_days": ("Days of history", "Tage im Verlauf"),
    "mqtt.host": ("MQTT broker", "MQTT-Broker"),
    "mqtt.port": ("MQTT port", "MQTT-Port"),
    "mqtt.username": ("MQTT user name", "MQTT-Benutzername"),
    "mqtt.password": ("MQTT password", "MQTT-Passwort"),
    "mqtt.base_topic": ("MQTT base topic", "MQTT-Basis-Topic"),
    "log.level": ("Log level", "Protokollstufe"),
}

GERMAN = {
    "node": "Unter diesem Namen erscheint der Ort in MQTT und in Home Assistant: 1 bis 64 Buchstaben, "
    "Ziffern, _ und -.",
    "mute": "Stumm starten, sofern die Stummschaltung nicht über MQTT aufgehoben wurde.",
    "decision.sensitivity": "Wie leicht ein Gefühl gemeldet wird. Eine Wahl in Home Assistant "
    "gilt, bis sich dieser Wert ändert.",
    "audio.gain_db": "Verstärkung des Mikrofons in Dezibel oder auto; Dezimalpunkt, z. B. 3.5.",
    "speech.engine": "webrtc ist klein; silero ist ein neuronales Netz und braucht mehr Rechenzeit.",
    "speech.aggressiveness": "Wie streng webrtc Geräusche verwirft, die keine Sprache sind: 0 selten, 3 oft.",
    "speech.min_level_dbfs": "Was leiser ist, gilt nie als Sprache (Effektivwert, Dezibel zur "
    "Vollaussteuerung).",
    "model.path": "permissive kennt sechs Gefühle und wurde ohne Aufnahmen trainiert, die nur für "
    "nichtkommerzielle Zwecke frei sind.",
    "journal.keep_days": "Tage, nach denen ein Ereignis gelöscht wird.",
    "mqtt.host": "Leer lassen für den Broker von Home Assistant; sonst Name oder Adresse eines anderen.",
    "mqtt.port": "Port eines anderen Brokers.",
    "mqtt.username": "Benutzername bei einem anderen Broker.",
    "mqtt.password": "Passwort bei einem anderen Broker.",
    "mqtt.base_topic": "Erste Ebenen jedes Topics.",
    "log.level": "Niedrigste Stufe, die protokolliert wird.",
}

ENGLISH = {  # where the schema describes more than the page offers
    "speech.engine": "webrtc is small; silero is a neural network and needs more computing time.",
    "model.path": "permissive knows six emotions and is trained without data that excludes commercial use.",
    "mqtt.host": "Leave empty for Home Assistant's own broker, or enter the name or address of another.",
    "mqtt.port": "Port of another broker.",
    "mqtt.username": "User name for another broker.",
    "mqtt.password": "Password for another broker.",
    "node": "Name of this place in MQTT and Home Assistant: 1 to 64 letters, digits, _ and -.",
}


def manifest() -> dict[str, Any]:
    """The add-on's config.yaml, without Home Assistant's own defaults, as its linter requires."""
    return {
        "name": "serd",
        "version": VERSION,
        "slug": "serd",
        "description": "Recognises emotions in speech and reports them to Home Assistant; nothing is recorded",
        "url": "https://pypi.org/project/serd-emotion/",
        "arch": ["aarch64", "amd64"],
        # Its main process handles signals and stops its children.
        "init": False,
        "services": ["mqtt:want"],
        "audio": True,
        "ingress": True,
        # The dashboard streams events.
        "ingress_stream": True,
        "panel_icon": "mdi:emoticon-outline",
        "panel_title": "serd",
        "timeout": 15,
        "options": defaults(),
        "schema": supervisor_schema(),
    }


def translation(language: int) -> dict[str, Any]:
    """Names and descriptions of the options.

    Args:
        language: 0: English, 1: German.
    """
    described = ENGLISH if language == 0 else GERMAN
    return {
        "configuration": {
            option_name(key): {
                "name": NAMES[key][language],
                "description": described.get(key) or KEYS[key].description,
            }
            for key in OFFERED
        }
    }


def main(folder: Path) -> None:
    """Write all of them into a folder."""
    for path, content in (
        ("config.yaml", manifest()),
        ("translations/en.yaml", translation(0)),
        ("translations/de.yaml", translation(1)),
    ):
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
        (folder / path).write_text(HEAD + text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "serd")
