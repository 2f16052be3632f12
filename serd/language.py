"""Words for people in their language: emotions, states, and a few sentences.

Topics, events and JSON stay English. A language is one file, ``serd/locale/LANGUAGE.po``, in the
format of gettext, which every translation editor reads; what it lacks is shown in English. Which
one holds is said by the key ``language``, else by the environment (``LC_ALL``, ``LC_MESSAGES``,
``LANG``), as gettext does it.
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
"""Where the languages lie."""

ENGLISH: Final = "en"

_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class Catalogue(gettext.NullTranslations):
    """The words of one language, read from its file.

    Args:
        words: English to that language.
        language: Its name, such as ``de``.
    """

    def __init__(self, words: Mapping[str, str], language: str) -> None:
        super().__init__()
        self.words = dict(words)
        self.language = language

    def gettext(self, message: str) -> str:
        """The message in that language; as it is where the file lacks it."""
        return self.words.get(message) or message


def many(count: int, one: str, more: str) -> str:
    """A number of things, in the singular or the plural."""
    return f"{count:,} {one if count == 1 else more}"


def languages() -> list[str]:
    """Those that there are, English first."""
    return [ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.po"))]


@lru_cache(maxsize=8)
def catalogue(language: str) -> Catalogue:
    """The words of a language; English ones if there is no such language."""
    path = FOLDER / f"{language}.po"
    if language == ENGLISH or language not in languages():
        return Catalogue({}, ENGLISH)
    return Catalogue(_read(path.read_text("utf-8")), language)


def chosen(setting: str | None, env: Mapping[str, str] | None = None) -> Catalogue:
    """The words that somebody wants.

    Args:
        setting: The key ``language``; None: as the environment says.
        env: Environment variables; the process's own if None.
    """
    env = os.environ if env is None else env
    wanted = setting or next((env[name] for name in _VARIABLES if env.get(name)), ENGLISH)
    return catalogue(best([wanted]))


def best(wanted: Iterable[str]) -> str:
    """The first of some languages that there is, as ``de`` for ``de_AT.UTF-8`` or ``de-CH``."""
    there = languages()
    for name in wanted:
        short = re.split(r"[_.@-]", name.strip().lower())[0]
        if short in there:
            return short
    return ENGLISH


def accepted(header: str) -> str:
    """The language of an ``Accept-Language`` header that there is and is liked best."""
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
    """The messages of a .po file without plurals and contexts; fuzzy ones are left out."""
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
