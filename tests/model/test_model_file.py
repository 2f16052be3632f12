"""Packing, reading and rejecting model files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serd.errors import ModelError
from serd.model.classifier import Classifier
from serd.model.emotions import EMOTIONS
from serd.model.metadata import FeatureParameters, ModelInfo
from serd.model.model_file import LARGEST_FILE, ModelFile, pack, resolve
from tests.models import SIX, Network


def repacked(network: bytes, *, change: dict[str, Any] | None = None, **members: Any) -> bytes:
    """A model file made by hand, valid except for ``change`` in serd.json and other ``members``."""
    document: dict[str, Any] = {
        "format": 1,
        "name": "hand",
        "version": "1",
        "features": {},
        "network": {"bytes": len(network), "sha256": hashlib.sha256(network).hexdigest()},
    }
    document.update(change or {})
    content = {"labels.txt": "\n".join(EMOTIONS), "serd.json": json.dumps(document)}
    content.update({name.replace("_", "."): text for name, text in members.items()})
    file = io.BytesIO(network)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            if text is not None:
                archive.writestr(name, text)
    return file.getvalue()


def test_a_packed_model_can_be_loaded(
    network: Network, tiny_info: ModelInfo, tmp_path: Path
) -> None:
    packed = pack(network("eight"), EMOTIONS, tiny_info)
    path = tmp_path / "model.tflite"
    path.write_bytes(packed)
    model = ModelFile.load(path)
    assert model.info == tiny_info
    assert model.labels == EMOTIONS
    assert model.network == network("eight")
    assert model.sha256 == hashlib.sha256(packed).hexdigest()
    assert model.size == len(packed)
    assert model.source == str(path)


def test_packing_twice_gives_the_same_bytes(
    network: Network, tiny_info: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(network("eight"), EMOTIONS, tiny_info)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert pack(network("eight"), EMOTIONS, tiny_info) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert [member.date_time for member in archive.infolist()] == [(1980, 1, 1, 0, 0, 0)] * 2


def test_unzip_lists_the_metadata(tiny_model_path: Path) -> None:
    listed = subprocess.run(
        ["unzip", "-l", str(tiny_model_path)], capture_output=True, text=True, check=True
    )
    assert "labels.txt" in listed.stdout
    assert "serd.json" in listed.stdout
    assert "extra bytes" not in listed.stdout + listed.stderr
    subprocess.run(["unzip", "-tqq", str(tiny_model_path)], check=True)


def test_the_runtime_accepts_the_whole_file(tiny_model_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tiny_model_path.read_bytes())
    interpreter.allocate_tensors()
    assert tuple(interpreter.get_input_details()[0]["shape"]) == (1, 188, 64)


def test_a_model_may_have_fewer_classes(six_model_path: Path) -> None:
    assert ModelFile.load(six_model_path).labels == SIX


def test_a_compressed_archive_can_be_read(network: Network) -> None:
    assert ModelFile.parse(repacked(network("eight")), "here").info.name == "hand"


def test_unknown_metadata_is_ignored(network: Network) -> None:
    model = ModelFile.parse(repacked(network("eight"), change={"carbon_kg": 0.2}), "here")
    assert model.info.version == "1"


@pytest.mark.parametrize("name", ["default", "permissive"])
def test_names_of_packaged_models_are_resolved(name: str) -> None:
    assert resolve(name).name == f"{name}.tflite"
    assert resolve(name).parent.parent.name == "model"
    assert resolve(None) == resolve("default")
    assert resolve(f"./{name}") == Path(name)


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/m.tflite") == tmp_path / "m.tflite"


def test_paths_without_a_readable_model_file_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no model .*nowhere") as error:
        ModelFile.load(tmp_path / "nowhere")
    assert error.value.exit_code == 78
    with pytest.raises(ModelError, match="is not a file"):
        ModelFile.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="is not a file"):
        ModelFile.load(tmp_path / "pipe")
    with pytest.raises(ModelError, match=r"the model nul\\u0000byte cannot be read"):
        ModelFile.load("nul\0byte")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(ModelError, match="more than 16 MiB"):
        ModelFile.load(large)


@pytest.mark.parametrize("name", ["default", "permissive"])
def test_a_missing_packaged_model_is_blamed_on_the_installation(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("serd.model.model_file.__file__", str(tmp_path / "model_file.py"))
    with pytest.raises(ModelError, match=f"this installation of serd has no {name} model"):
        ModelFile.load(name)


NAN = float("nan")

REJECTED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no labels": ({}, {"labels_txt": None}, "has no labels.txt"),
    "no information": ({}, {"serd_json": None}, "has no serd.json"),
    "not JSON": ({}, {"serd_json": "{"}, "serd.json .* is not valid: Input data was truncated"),
    "deep JSON": ({}, {"serd_json": "[" * 100_000}, "serd.json .* is not valid"),
    "not UTF-8 JSON": ({}, {"serd_json": b'{"name": "\xff\xfe"}'}, "serd.json .* is not valid"),
    "a list": ({}, {"serd_json": "[]"}, "Expected `object`, got `array`"),
    "no name": ({"name": None}, {}, "Expected `str`, got `null` - at `\\$.name`"),
    "control characters": ({"name": "a\nb"}, {}, "name is not 1 to 64 printable"),
    "long name": ({"name": "x" * 65}, {}, "name is not 1 to 64 printable"),
    "no version": ({"version": ""}, {}, "version is not 1 to 32 printable"),
    "later format": ({"format": 2}, {}, "Invalid enum value 2 - at `\\$.format`"),
    "temperature": ({"temperature": 0}, {}, "temperature is 0"),
    "not a number": ({"temperature": NAN}, {}, "serd.json .* is not valid"),
    "threshold": ({"abstain_threshold": 1.5}, {}, "abstain_threshold is 1.5"),
    "output": ({"output": "odds"}, {}, "Invalid enum value 'odds' - at `\\$.output`"),
    "feature": ({"features": {"deltas": 1}}, {}, "unknown field `deltas` - at `\\$.features`"),
    "absurd FFT": ({"features": {"fft": 1 << 30}}, {}, "features.fft is 1073741824"),
    "means": ({"features": {"mean": [0.0]}}, {}, "features.mean has 1 figures for 64"),
    "spread": ({"features": {"sd": [0.0] * 64}}, {}, "features.sd has a figure outside"),
    "rate": ({"features": {"rate": 22050}}, {}, "wants 22050 Hz; serd hears 16000"),
    "length": ({"network": {"bytes": 1, "sha256": "0"}}, {}, "is damaged"),
    "labels not UTF-8": ({}, {"labels_txt": b"\xff"}, "labels.txt .* is not UTF-8"),
    "unknown labels": ({}, {"labels_txt": "cat dog"}, "does not know: 'cat', 'dog'"),
    "shouted labels": ({}, {"labels_txt": "\x1b[31mx"}, r"does not know: '\\x1b\[31mx'"),
    "twice": ({}, {"labels_txt": "sad sad"}, "two or more different"),
    "one label": ({}, {"labels_txt": "sad"}, "two or more different"),
    "no label": ({}, {"labels_txt": ""}, "two or more different"),
    "huge labels": ({}, {"labels_txt": b"\n" * 30_000_000}, "has more than 1024 KiB"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_invalid_metadata_is_rejected_with_a_reason(network: Network, case: str) -> None:
    change, members, why = REJECTED[case]
    with pytest.raises(ModelError, match=why) as error:
        ModelFile.parse(repacked(network("eight"), change=change, **members), "it.tflite")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_one_flipped_bit_in_the_network_is_detected(tiny_model_path: Path) -> None:
    content = bytearray(tiny_model_path.read_bytes())
    content[1500] ^= 1
    with pytest.raises(ModelError, match="is damaged"):
        ModelFile.parse(bytes(content), "it")


def test_duplicate_members_are_rejected(network: Network) -> None:
    file = io.BytesIO(repacked(network("eight")))
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(file, "a") as archive,
    ):
        archive.writestr("labels.txt", "sad happy")
    with pytest.raises(ModelError, match=r"more than one labels\.txt"):
        ModelFile.parse(file.getvalue(), "it")


def test_a_false_size_in_the_directory_is_rejected(network: Network) -> None:
    """A zip bomb: the directory says 10 bytes, the compressed data hold 30 million."""
    content = bytearray(repacked(network("eight"), labels_txt=b"\n" * 30_000_000))
    at = content.find(b"PK\x01\x02")
    while content[at + 46 : at + 56] != b"labels.txt":
        at = content.find(b"PK\x01\x02", at + 1)
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    with pytest.raises(ModelError, match="carries no readable metadata"):
        ModelFile.parse(bytes(content), "it")


def bomb(network: bytes, *, name: str, method: int, megabytes: int) -> bytes:
    """A model with a member of many megabytes for which the directory says 1000 bytes."""
    file = io.BytesIO(network)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", method) as archive:
        for other in {"labels.txt", "serd.json"} - {name}:
            archive.writestr(other, "a")
        with archive.open(name, "w") as member:
            for _ in range(megabytes):
                member.write(bytes(1_000_000))
    content = bytearray(file.getvalue())
    at = content.find(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(name)] != name.encode():
        at = content.find(b"PK\x01\x02", at + 1)
    content[at + 24 : at + 28] = struct.pack("<I", 1000)
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "method", "megabytes"),
    [
        ("labels.txt", zipfile.ZIP_DEFLATED, 100),
        ("serd.json", zipfile.ZIP_DEFLATED, 100),
        ("serd.json", zipfile.ZIP_BZIP2, 30),
        ("labels.txt", zipfile.ZIP_LZMA, 30),
    ],
)
def test_a_zip_bomb_needs_little_memory(
    name: str, method: int, megabytes: int, network: Network
) -> None:
    content = bomb(network("eight"), name=name, method=method, megabytes=megabytes)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError):
            ModelFile.parse(content, "it")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000 + 2 * len(content), peak


def test_a_directory_with_too_many_names_is_rejected(network: Network) -> None:
    file = io.BytesIO(network("eight"))
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a") as archive:
        for number in range(3000):
            archive.writestr(f"{number:05}", b"")
    with pytest.raises(ModelError, match="KiB of names"):
        ModelFile.parse(file.getvalue(), "it")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"x", "not a TensorFlow Lite model"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "not a TensorFlow Lite model"),
        (b"\x1c\x00\x00\x00TFL3", "carries no readable metadata"),
        (b"\x1c\x00\x00\x00TFL3" + b"\xff" * 10_000, "carries no readable metadata"),
    ],
)
def test_other_kinds_of_files_are_rejected(content: bytes, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        ModelFile.parse(content, "it")


def test_a_bare_network_is_rejected(network: Network) -> None:
    with pytest.raises(ModelError, match="it is a bare TensorFlow Lite model"):
        ModelFile.parse(network("eight"), "it")


def test_a_truncated_file_is_rejected(tiny_model_path: Path) -> None:
    content = tiny_model_path.read_bytes()
    for length in range(0, len(content), 7):
        with pytest.raises(ModelError):
            ModelFile.parse(content[:length], "it")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_rejected_or_harmless(tiny_model_path: Path, data: st.DataObject) -> None:
    whole = tiny_model_path.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(2000, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = ModelFile.parse(bytes(content), "it")
    except ModelError:
        return
    # Only dates and attributes of the archive were hit: checksums cover everything that matters.
    original = ModelFile.parse(whole, "it")
    assert model.network == original.network
    assert model.labels == original.labels
    assert model.info == original.info


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=300), tail=st.binary(max_size=60))
def test_a_random_archive_after_a_header_is_rejected(junk: bytes, tail: bytes) -> None:
    content = b"\x1c\x00\x00\x00TFL3" + junk + b"PK\x05\x06" + tail.ljust(18, b"\0")
    with pytest.raises(ModelError):
        ModelFile.parse(content, "it")


@pytest.mark.parametrize(
    ("name", "labels", "why"),
    [
        ("float32", EMOTIONS, "input of the network of it is float32; serd needs full-integer"),
        ("uint8", EMOTIONS, "input of the network of it is uint8"),
        ("pictures", EMOTIONS, r"is \[1, 32, 24\], but its feature parameters say \[1, 188, 64\]"),
        ("six", EMOTIONS, r"output of the network of it is \[1, 6\], but its labels say \[1, 8\]"),
        ("eight", SIX, r"output of the network of it is \[1, 8\], but its labels say \[1, 6\]"),
        ("two-inputs", EMOTIONS, "has 2 inputs and 1 outputs"),
    ],
)
def test_unsuitable_networks_are_rejected(
    network: Network, name: str, labels: tuple[str, ...], why: str
) -> None:
    info = ModelInfo(name="other", version="1", features=FeatureParameters())
    content = pack(network(name), labels, info)
    with pytest.raises(ModelError, match=why):
        Classifier(ModelFile.parse(content, "it"))


def test_feature_parameters_that_do_not_match_the_network_are_rejected(network: Network) -> None:
    features = FeatureParameters(coefficients=40)
    info = ModelInfo(name="other", version="1", features=features)
    with pytest.raises(ModelError, match=r"\[1, 188, 64\], but .* say \[1, 188, 40\]"):
        Classifier(ModelFile.parse(pack(network("eight"), EMOTIONS, info), "it"))


DAMAGED = """
import random, sys
from serd.errors import ModelError
from serd.model.classifier import Classifier
from serd.model.metadata import FeatureParameters
from serd.model.model_file import ModelFile, pack
from serd.model.metadata import ModelInfo
from serd.model.emotions import EMOTIONS
import numpy as np

network = open(sys.argv[1], "rb").read()
info = ModelInfo(name="x", version="1", features=FeatureParameters())
chance = random.Random(int(sys.argv[2]))
rejected = ran = 0
for attempt in range(150):
    content = bytearray(network)
    if attempt % 3 == 0:
        content = content[: chance.randrange(8, len(content))]
    else:
        for _ in range(chance.choice((1, 2, 8))):
            content[chance.randrange(8, len(content))] = chance.randrange(256)
    try:
        model = ModelFile.parse(pack(bytes(content), EMOTIONS, info), "it")
        classifier = Classifier(model)
        classifier.classify_features(np.zeros((188, 64), np.float32))
        ran += 1
    except ModelError as error:
        assert "\\n" not in str(error), error
        rejected += 1
print(rejected, ran)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_damaged_network_with_a_valid_checksum_does_not_crash(networks: Path, seed: int) -> None:
    """The checksum catches accidents; the runtime's own verifier has to catch the rest."""
    process = subprocess.run(
        [sys.executable, "-c", DAMAGED, str(networks / "eight.tflite"), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    rejected, ran = map(int, process.stdout.split())
    assert rejected > 50
    assert rejected + ran == 150


def test_invalid_models_cannot_be_packed(network: Network, tiny_info: ModelInfo) -> None:
    with pytest.raises(ModelError, match="does not know: 'bored'"):
        pack(network("eight"), ("bored", "sad"), tiny_info)
    with pytest.raises(ModelError, match="not a TensorFlow Lite model"):
        pack(b"something else", EMOTIONS, tiny_info)
    once = pack(network("eight"), EMOTIONS, tiny_info)
    with pytest.raises(ModelError, match="carries an archive already"):
        pack(once, EMOTIONS, tiny_info)
    with pytest.raises(ValueError, match="abstain_threshold"):
        ModelInfo(name="x", version="1", features=FeatureParameters(), abstain_threshold=-0.1)
