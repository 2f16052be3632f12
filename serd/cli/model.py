"""``serd model``: the metadata of a model file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from serd.cli.command import Group, Invocation, pass_invocation
from serd.cli.terminal import echo, wrapped
from serd.language import many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.model.metadata import Home
    from serd.model.model_file import ModelFile


@click.group(cls=Group)
def model() -> None:
    """Inspect model files."""


@model.command()
@click.argument("path", type=click.Path(), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with everything.")
@pass_invocation
def info(invocation: Invocation, path: str | None, as_json: bool) -> None:
    """Show what a model is, what it was trained on, and how good it is.

    PATH is a model file, or default or permissive; without it, the configured model.
    """
    loaded = invocation.load()
    from serd.model.classifier import Classifier

    # Loaded as in the daemon, so that a network that does not work is refused here, too.
    file = Classifier.load(path or loaded.config.model.path).model
    echo(json.dumps(_everything(file), indent=2) if as_json else _summary(file), lines=True)


def _everything(file: ModelFile) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(file.info)
    about = {"file": file.source, "sha256": file.sha256, "bytes": file.size}
    return about | {"labels": list(file.labels)} | facts


def _summary(file: ModelFile) -> str:
    info, features = file.info, file.info.features
    feeds = (
        f"{features.rate} Hz, window {features.window}, hop {features.hop}, FFT {features.fft}, "
        f"{features.mel_bands} mel bands {features.f_min_hz:g} to {features.f_max_hz:g} Hz"
    )
    if features.reverb is not None:
        feeds += f", room of {features.reverb.rt60_s:g} s at {features.reverb.tail_db:g} dB"
    if len(info.placements) > 1:
        feeds += f", {len(info.placements)} placements"
    calibration = f"temperature {info.temperature:g}"
    if info.home is None:
        calibration += f", uncertain below {info.abstain_threshold:g}"
    rows = [
        ("model", f"{info.name} {info.version}"),
        ("classes", ", ".join(file.labels)),
        *_measured(info.evaluation, at_home=info.home is not None),
        *_home(info.home),
    ]
    for corpus in info.corpora:
        speakers = many(corpus.speakers, "speaker", "speakers")
        clips = many(corpus.clips, "clip", "clips")
        rows.append(("trained on", f"{corpus.name} ({corpus.licence}): {speakers}, {clips}"))
    rows += [
        ("licence", info.licence),
        ("created", info.created),
        ("calibration", calibration),
        ("input", f"{features.frames} frames x {features.coefficients} coefficients"),
        ("features", feeds),
        ("file", f"{file.source}, {file.size} bytes"),
        ("sha256", file.sha256),
    ]
    width = max(len(head) for head, _ in rows)
    return "\n".join(line for head, text in rows if text for line in _wrapped(head, text, width))


def _measured(evaluation: dict[str, Any], *, at_home: bool) -> list[tuple[str, str]]:
    """Its evaluation: means over all folds first, if the file has them; then its own split.

    Args:
        evaluation: From the model file.
        at_home: Whether the file's decisions assume that most speech at home is neutral.
    """
    rows = []
    crossed = evaluation.get("cross_validation")
    for name, figures in crossed.items() if isinstance(crossed, dict) else ():
        if isinstance(figures, dict):
            rows.append((f"over all folds, {name}", _sentence(figures, at_home=at_home)))
    for name, figures in evaluation.items():
        if name != "cross_validation" and isinstance(figures, dict):
            rows.append((f"measured on {name}", _sentence(figures, at_home=at_home)))
    if rest := _figures(evaluation):
        rows.append(("measured", rest))
    return rows


def _sentence(figures: dict[str, Any], *, at_home: bool) -> str:
    """The most important figures; --json has them all, and those that are no numbers."""
    speakers, clips, uar, spread, accuracy, decided, right = (
        _number(figures.get(name))
        for name in (
            "speakers", "clips", "uar", "uar_sd", "accuracy", "decided_share", "decided_accuracy",
        )
    )  # fmt: skip
    parts = []
    if speakers is not None and clips is not None:
        new = many(int(speakers), "new speaker", "new speakers")
        parts.append(f"{new}, {many(int(clips), 'clip', 'clips')}")
    if uar is not None:
        varies = f" (\u00b1 {100 * spread:.1f})" if spread is not None else ""
        parts.append(f"UAR {_share(uar)}{varies}")
    if accuracy is not None:
        parts.append(f"accuracy {_share(accuracy)}")
    if decided is not None and right is not None:
        # Doubtful emotions are then answered neutral, so fewer are right than by the scores alone.
        how = "decided as at home, " if at_home else ""
        parts.append(f"{how}not uncertain {_share(decided)}, accuracy of those {_share(right)}")
    return "; ".join(parts) or _figures(figures)


def _number(value: object) -> float | None:
    """A figure from a model file, which may hold anything; None if it is not a number."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _wrapped(head: str, text: str, width: int) -> list[str]:
    """A row in lines that fit the terminal."""
    first, *more = wrapped(text, width + 2, least=30) or [""]
    return [f"{head:<{width}}  {first}", *(" " * (width + 2) + line for line in more)]


def _home(home: Home | None) -> Iterator[tuple[str, str]]:
    """Its settings for homes, and what was measured at each sensitivity."""
    if home is None:
        return
    gathering = home.gathering
    yield "home", f"{home.ordinary_share:.0%} of utterances assumed neutral or calm"
    fades = f"half after {gathering.half_life_s:g} s, {gathering.weight:g} at each further one"
    forgets = f"none after a pause of {gathering.pause_s:g} s; {home.agree} must agree"
    yield "evidence", f"adds up over utterances: {fades}, {forgets}"
    if (usual := home.usual) is not None:
        rooms = f"to the sound of a room's latest {usual.remembered} utterances"
        yield "habituation", f"{rooms}, half after {usual.half_after}"
    from serd.model.metadata import SENSITIVITIES

    what = "emotions" if home.threshold_on == "emotion" else "all emotions together"
    for name in SENSITIVITIES:
        point = home.sensitivity[name]
        yield f"sensitivity {name}", f"{what} from {point.threshold:.0%} on: {point.measured}"


def _figures(figures: dict[str, Any]) -> str:
    """Single figures in one line; nested ones, such as confusion matrices, are for --json."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
        if isinstance(value, int | float | str)
    )
