"""The model file: a TFLite network together with its metadata.

It is a ``.tflite`` file with a ZIP archive appended, the way TensorFlow Lite's own metadata packs
associated files. Any TFLite runtime loads it, and ``unzip -l`` lists

- ``labels.txt``: the classes in the order of the network's output, one per line;
- ``serd.json``: a `ModelInfo`, and the length and SHA-256 of the network, so that a damaged one is
  refused before native code sees it.

A model file is untrusted input: everything in it is bounded and checked here.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Final, Literal

import msgspec

from serd.audio.format import SAMPLE_RATE
from serd.errors import ModelError, shown
from serd.model.emotions import EMOTIONS
from serd.model.metadata import ORDINARY, Home, ModelInfo, ScoreStatistics

PACKAGED: Final = ("default", "permissive")
"""Names of the models that are part of serd."""

LARGEST_FILE: Final = 16 * 1024 * 1024
"""Bytes: fifty times the size of the shipped model."""

_LARGEST_MEMBER: Final = 1024 * 1024
_LARGEST_DIRECTORY: Final = 64 * 1024
_DIRECTORY_END: Final = b"PK\x05\x06"
_DIRECTORY_END_BYTES: Final = 22
_DIRECTORY_64: Final = b"PK\x06\x07"
_LABELS: Final = "labels.txt"
_INFO: Final = "serd.json"
_IDENTIFIER: Final = b"TFL3"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_HINT: Final = "a model for serd is one that `serd-train` packed"


class _Network(msgspec.Struct, frozen=True, kw_only=True):
    bytes: int
    sha256: str


class _Document(ModelInfo, frozen=True, kw_only=True):
    """``serd.json``: flat, so that people find everything at the top level."""

    format: Literal[1]
    network: _Network


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A model file that has been read and checked, except for running the network."""

    source: str
    """Its path or name, for messages."""
    sha256: str
    """SHA-256 of the file in hexadecimal, as ``sha256sum`` prints it."""
    size: int
    """Size of the file in bytes."""
    network: bytes
    """The flatbuffer."""
    labels: tuple[str, ...]
    """Classes in the order of the network's output; each one of `EMOTIONS`."""
    info: ModelInfo
    """Its metadata."""

    @classmethod
    def load(cls, name_or_path: str | Path | None = None) -> ModelFile:
        """Read and check a model file.

        Args:
            name_or_path: ``default``, ``permissive``, or the path of a file; None: ``default``.

        Returns:
            The model.

        Raises:
            ModelError: It is missing, unreadable, or not a model for serd; the message says why.
        """
        path = resolve(name_or_path)
        packaged = name_or_path is None or str(name_or_path) in PACKAGED
        source = str(name_or_path or PACKAGED[0]) if packaged else shown(path)
        return cls.parse(_read(path, source), source)

    @classmethod
    def parse(cls, content: bytes, source: str) -> ModelFile:
        """Check the bytes of a model file.

        Args:
            content: The whole file.
            source: Its path or name, for messages.

        Returns:
            The model.

        Raises:
            ModelError: As `load` does.
        """
        if not content:
            msg = f"the model {source} is empty"
            raise ModelError(msg, remedy=_HINT)
        if content[4:8] != _IDENTIFIER:
            msg = f"{source} is not a TensorFlow Lite model"
            raise ModelError(msg, remedy=_HINT)
        labels_text, info_text, length = _unzip(content, source)
        document = _decode(info_text, source)
        network = content[:length]
        if document.network.bytes != length or document.network.sha256 != _sha256(network):
            msg = f"the model {source} is damaged: its network is not the one that was packed"
            raise ModelError(msg, remedy="copy or download it again")
        labels = _labels(labels_text, source)
        if document.features.rate != SAMPLE_RATE:
            msg = f"the model {source} wants {document.features.rate} Hz; serd hears {SAMPLE_RATE}"
            raise ModelError(msg)
        if document.home is not None:
            _check_home(document.home, labels, source)
        if document.personal is not None:
            _check_personal(document.personal, labels, source)
        info = msgspec.convert(msgspec.structs.asdict(document), ModelInfo, from_attributes=True)
        return cls(
            source=source,
            sha256=_sha256(content),
            size=len(content),
            network=network,
            labels=labels,
            info=info,
        )


def pack(network: bytes, labels: tuple[str, ...], info: ModelInfo) -> bytes:
    """Make a model file.

    The result is reproducible: nothing in the archive depends on the time, the machine or the
    version of a compressor.

    Args:
        network: The ``.tflite`` flatbuffer, full-integer int8, without an archive.
        labels: Classes in the order of its output.
        info: The model's metadata.

    Returns:
        The bytes of the file.

    Raises:
        ModelError: If serd would not load the result.
    """
    if zipfile.is_zipfile(io.BytesIO(network)):
        msg = "the network carries an archive already: pack the bare one"
        raise ModelError(msg)
    document = _Document(
        **{name: getattr(info, name) for name in ModelInfo.__struct_fields__},
        format=1,
        network=_Network(bytes=len(network), sha256=_sha256(network)),
    )
    text = msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=1)
    file = io.BytesIO(network)
    # Appending keeps the offsets in the archive relative to the file, as `unzip` wants them.
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        for name, content in ((_LABELS, "\n".join(labels).encode() + b"\n"), (_INFO, text)):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3  # Unix, wherever it is packed
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
    packed = file.getvalue()
    ModelFile.parse(packed, f"{info.name} {info.version}")
    return packed


def resolve(name_or_path: str | Path | None) -> Path:
    """The path of a model.

    Args:
        name_or_path: ``default`` or ``permissive`` for those that come with serd; anything else is
            a path. None: ``default``.

    Returns:
        The path; the file need not exist.
    """
    if name_or_path is None:
        name_or_path = PACKAGED[0]
    if str(name_or_path) in PACKAGED:
        return Path(__file__).parent / "data" / f"{name_or_path}.tflite"
    return Path(name_or_path).expanduser()


def _read(path: Path, source: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            msg = f"the model {source} is not a file"
            raise ModelError(msg)
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        if source in PACKAGED:
            msg = f"this installation of serd has no {source} model"
            raise ModelError(msg, remedy="use default, or name a file") from error
        msg = f"there is no model {source}"
        names = " or ".join(PACKAGED)
        raise ModelError(msg, remedy=f"name a file, or {names}") from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"the model {source} cannot be read: {reason}"
        raise ModelError(msg) from error
    if len(content) > LARGEST_FILE:
        msg = f"{source} has more than {LARGEST_FILE >> 20} MiB: no model for serd is that large"
        raise ModelError(msg, remedy=_HINT)
    return content


def _unzip(content: bytes, source: str) -> tuple[bytes, bytes, int]:
    """The labels, the metadata, and the length of the network before the archive."""
    if _directory_bytes(content) > _LARGEST_DIRECTORY:
        msg = f"the metadata of the model {source} has more than {_LARGEST_DIRECTORY >> 10} KiB"
        raise ModelError(f"{msg} of names", remedy=_HINT)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            length = min((member.header_offset for member in members), default=0)
            labels, info = (_member(archive, name, source) for name in (_LABELS, _INFO))
    # Malicious archives make zipfile raise all of these.
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
        OverflowError, OSError, UnicodeError, KeyError, IndexError,
    ) as error:  # fmt: skip
        msg = (
            f"{source} carries no readable metadata: it is a bare TensorFlow Lite model, or "
            "truncated or damaged"
        )
        raise ModelError(msg, remedy=_HINT) from error
    return labels, info, length


def _directory_bytes(content: bytes) -> int:
    """Claimed size of an archive's directory, which zipfile reads as a whole when it opens it."""
    found = [0]
    for place in {content.rfind(_DIRECTORY_END), len(content) - _DIRECTORY_END_BYTES} - {-1}:
        end = content[max(0, place) : max(0, place) + _DIRECTORY_END_BYTES]
        if end.startswith(_DIRECTORY_END) and len(end) == _DIRECTORY_END_BYTES:
            found.append(int.from_bytes(end[12:16], "little"))
            if content[max(0, place - 20) : place].startswith(_DIRECTORY_64):
                found.append(LARGEST_FILE)  # for archives of more than 4 GiB
    return max(found)


def _member(archive: zipfile.ZipFile, name: str, source: str) -> bytes:
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        what = "has no" if not found else "has more than one"
        msg = f"the model {source} {what} {name} in its metadata"
        raise ModelError(msg, remedy=_HINT)
    if found[0].file_size > _LARGEST_MEMBER:
        msg = f"{name} in the model {source} has more than {_LARGEST_MEMBER >> 10} KiB"
        raise ModelError(msg, remedy=_HINT)
    # Only these two are unpacked piecewise; the others at once, however large the result.
    if found[0].compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        msg = f"{name} in the model {source} is packed in a way that serd does not read"
        raise ModelError(msg, remedy=_HINT)
    # Not archive.read(), which unpacks everything before it checks the size.
    with archive.open(found[0]) as member:
        return member.read(_LARGEST_MEMBER)


def _decode(text: bytes, source: str) -> _Document:
    try:
        return msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{_INFO} in the model {source} is not valid: {reason}"
        raise ModelError(msg, remedy=_HINT) from error


def _labels(text: bytes, source: str) -> tuple[str, ...]:
    try:
        labels = tuple(text.decode("utf-8").split())
    except UnicodeDecodeError as error:
        msg = f"{_LABELS} in the model {source} is not UTF-8"
        raise ModelError(msg, remedy=_HINT) from error
    unknown = [label for label in labels if label not in EMOTIONS]
    if unknown:
        listed = ", ".join(ascii(label[:32]) for label in unknown[:3])
        msg = f"{_LABELS} in the model {source} names classes that serd does not know: {listed}"
        raise ModelError(msg, remedy=f"known are {', '.join(EMOTIONS)}")
    if len(labels) < 2 or len(set(labels)) != len(labels):
        msg = f"{_LABELS} in the model {source} does not name two or more different classes"
        raise ModelError(msg, remedy=_HINT)
    return labels


def _check_home(home: Home, labels: tuple[str, ...], source: str) -> None:
    ordinary = [label for label in labels if label in ORDINARY]
    if not 0 < len(ordinary) < len(labels):
        msg = f"the model {source} has a home, but not both ordinary and emotional classes"
        raise ModelError(msg, remedy=_HINT)
    if stray := sorted(home.bias.keys() - set(labels)):
        listed = ", ".join(ascii(label[:32]) for label in stray[:3])
        msg = f"home.bias in the model {source} names classes that the model lacks: {listed}"
        raise ModelError(msg, remedy=_HINT)


def _check_personal(personal: ScoreStatistics, labels: tuple[str, ...], source: str) -> None:
    try:
        personal.check(labels)
    except ValueError as error:
        msg = f"in the model {source}, {error}"
        raise ModelError(msg, remedy=_HINT) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
