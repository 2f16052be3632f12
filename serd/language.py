"""Translations of what people see: emotions, states and a few sentences.

Topics, events and JSON stay English. Each language is one gettext file,
``serd/locale/LANGUAGE.po``; messages missing from it appear in English. The language is set by the
key ``language``, or else by the environment (``LC_ALL``, ``LC_MESSAGES``, ``LANG``) as in gettext.
"""

from __future__ import annotations

import ast
import gettext
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER: Final = Path(__file__).parent / "locale"
"""Folder of the translations."""

ENGLISH: Final = "en"

_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class Catalogue(gettext.NullTranslations):
    """The messages of one language.

    Args:
        words: English message to translation.
        language: Language code, such as ``de``.
    """

    def __init__(self, words: Mapping[str, str], language: str) -> None:
        super().__init__()
        self.words = dict(words)
        self.language = language

    def gettext(self, message: str) -> str:
        """The translation of a message; the message itself if there is none."""
        return self.words.get(message) or message


def many(count: int, one: str, more: str) -> str:
    """A count with its noun in the singular or plural."""
    return f"{count:,} {one if count == 1 else more}"


def languages() -> list[str]:
    """Codes of all available languages, English first."""
    return [ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.po"))]


@lru_cache(maxsize=8)
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language; English if it is not available."""
    path = FOLDER / f"{language}.po"
    if language == ENGLISH or language not in languages():
        return Catalogue({}, ENGLISH)
    return Catalogue(_read(path.read_text("utf-8")), language)


def chosen(setting: str | None, env: Mapping[str, str] | None = None) -> Catalogue:
    """The catalogue to use.

    Args:
        setting: The key ``language``; None: by the environment.
        env: Environment variables; the process's own if None.
    """
    env = os.environ if env is None else env
    wanted = setting or next((env[name] for name in _VARIABLES if env.get(name)), ENGLISH)
    return catalogue(best([wanted]))


def best(wanted: Iterable[str]) -> str:
    """The first available language: ``de`` for ``de_AT.UTF-8`` or ``de-CH``."""
    there = languages()
    for name in wanted:
        short = re.split(r"[_.@-]", name.strip().lower())[0]
        if short in there:
            return short
    return ENGLISH


def accepted(header: str) -> str:
    """The preferred available language of an ``Accept-Language`` header."""
    weighed = []
    for place, part in enumerate(header[:500].split(",")):
        name, _, quality = part.partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        weighed.append((-weight, place, name))
    return best(name for _, _, name in sorted(weighed))


def _read(text: str) -> dict[str, str]:
    """Parse a .po file without plurals and contexts; fuzzy messages are left out."""
    words: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", text):
        if "#, fuzzy" in block:
            continue
        parts: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line.startswith(("msgid ", "msgstr ")):
                key = line.split(" ", 1)[0]
            if key and not line.startswith("#"):
                strings = (str(ast.literal_eval(found)) for found in _QUOTED.findall(line))
                parts[key] = parts.get(key, "") + "".join(strings)
        if parts.get("msgid"):
            words[parts["msgid"]] = parts.get("msgstr", "")
    return words
