"""The config.yaml of the repository lists every key with its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from serd.config import Config
from serd.config.keys import KEYS, Key, inspected
from serd.config.loading import load

FILE = Path(__file__).parents[2] / "config.yaml"


def test_it_contains_exactly_the_defaults() -> None:
    loaded = load(FILE, env={"HOME": str(Path.home())})
    assert loaded.config == Config(journal=loaded.config.journal)
    assert loaded.warnings == ()


def test_it_has_every_key() -> None:
    loaded = load(FILE, env={})
    missing = {key for key, origin in loaded.origins.items() if origin == "default"}
    # These defaults depend on the machine and can only be given as comments.
    assert missing == {key.name for key in KEYS.values() if not key.has_fixed_default}
    assert missing == {"node", "journal.path"}
    lines = [line.strip() for line in FILE.read_text().splitlines()]
    assert "# node: living-room" in lines
    assert "# path: /var/lib/serd/journal.db" in lines


def test_its_commented_keys_are_valid() -> None:
    text = FILE.read_text().replace("# node:", "node:").replace("# path:", "path:")
    assert yaml.safe_load(text)["node"] == "living-room"
    assert yaml.safe_load(text)["journal"]["path"] == "/var/lib/serd/journal.db"


@pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))
def test_its_ranges_match_the_schema(key: Key) -> None:
    kind = inspected(key.type)
    low, high = getattr(kind, "ge", None), getattr(kind, "le", None)
    line = next(iter(_lines_of(key)), "")
    if low is None or " to " not in line:
        return
    named = re.search(r"([-0-9.]+) to ([0-9.]+)", line)
    assert named is not None, line
    assert (float(named[1]), float(named[2])) == (low, high)


def _lines_of(key: Key) -> list[str]:
    section, _, leaf = key.name.rpartition(".")
    inside, found = "", []
    for line in FILE.read_text().splitlines():
        name = line.strip().removeprefix("# ").split(":")[0]
        if line and not line.startswith((" ", "#")):
            inside = name if line.rstrip().endswith(":") else ""
        if name == leaf and inside == section.split(".")[0]:
            found.append(line)
    return found
