"""Arbitrary files, variables and options are either accepted or raise a ConfigError."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from serd.config.keys import KEYS, SECTIONS
from serd.config.loading import Loaded, load
from serd.errors import ConfigError

if TYPE_CHECKING:
    from serd.config import Config

words = st.one_of(
    st.sampled_from([*KEYS, *(name for name in SECTIONS if name), "null", "yes", "0", "-1", "1e9"]),
    st.text(max_size=12),
)
punctuation = st.sampled_from(
    [*"\n\t:,[]{}&*!|>'\"%@`#-? ", ": ", "\n  ", "\n- ", "---\n", "!!python/object:os "]
)
documents = st.lists(st.one_of(words, punctuation), max_size=30).map("".join)


def outcome(content: bytes) -> Loaded | ConfigError:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(content)
        try:
            return load(path, env={})
        except ConfigError as error:
            return error


def names_the_file(result: Loaded | ConfigError) -> bool:
    return isinstance(result, Loaded) or "/config.yaml" in result.message.partition(":")[0]


@given(documents)
@example("&a [*a, *a]")
@example("? {}\n: {}")
@example("{[]: 1}")
@example("mqtt: !!binary aGVsbG8=")
@example("<<: {node: x}")
@example("node: !<tag:yaml.org,2002:python/object/new:os.system> x")
@example("- " * 3000)
@example("\ud800")
def test_arbitrary_files(text: str) -> None:
    assert names_the_file(outcome(text.encode("utf-8", "surrogatepass")))


@given(st.binary(max_size=60))
def test_binary_files(content: bytes) -> None:
    assert names_the_file(outcome(content))


@given(st.sampled_from([*KEYS, *(name for name in SECTIONS if name)]), documents)
def test_options_and_variables_are_treated_alike(key: str, text: str) -> None:
    variable = "SERD_" + key.upper().replace(".", "__")
    empty = Path("/dev/null")
    outcomes: list[Config | None] = []
    for env, overrides in (({}, [f"{key}={text}"]), ({variable: text}, [])):
        try:
            outcomes.append(load(empty, env=env, overrides=overrides).config)
        except ConfigError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
