"""``serd model``: what a model file says of itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from serd.cli.colour import echo
from serd.cli.invocation import Group, Invocation, pass_invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.model.home import Home, OperatingPoint
    from serd.model.model_file import ModelFile


@click.group(cls=Group)
def model() -> None:
    """Look into model files."""


@model.command()
@click.argument("path", type=click.Path(), required=False)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, everything included.")
@pass_invocation
def info(invocation: Invocation, path: str | None, as_json: bool) -> None:
    """Say what a model is, what it was trained on, and how good it is.

    PATH is a model file, or default or permissive; without it, the configured model.
    """
    loaded = invocation.load()
    from serd.model.classifier import Classifier

    # Loaded as the daemon would: a network that does not work is refused here too.
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
    calibration = f"temperature {info.temperature:g}"
    if info.home is None:
        calibration += f", uncertain below {info.abstain_threshold:g}"
    rows = [
        ("model", f"{info.name} {info.version}"),
        ("file", f"{file.source}, {file.size} bytes"),
        ("sha256", file.sha256),
        ("created", info.created),
        ("licence", info.licence),
        ("classes", ", ".join(file.labels)),
        ("input", f"{features.frames} frames x {features.coefficients} coefficients"),
        ("features", feeds),
        ("calibration", calibration),
        *_home(info.home),
    ]
    for corpus in info.corpora:
        size = f"{corpus.speakers} speakers, {corpus.clips} clips"
        rows.append(("trained on", f"{corpus.name} ({corpus.licence}): {size}"))
    for name, figures in info.evaluation.items():
        if isinstance(figures, dict):
            rows.append((f"measured on {name}", _figures(figures)))
    if rest := _figures(info.evaluation):
        rows.append(("measured", rest))
    width = max(len(head) for head, _ in rows)
    return "\n".join(f"{head:<{width}}  {text}" for head, text in rows if text)


def _home(home: Home | None) -> Iterator[tuple[str, str]]:
    """What it assumes of homes, and what each sensitivity costs and brings."""
    if home is None:
        return
    gathering = home.gathering
    yield "home", f"{home.ordinary_share:.0%} of utterances assumed neutral or calm"
    fades = f"half after {gathering.half_life_s:g} s, {gathering.weight:g} at each further one"
    forgets = f"none after a pause of {gathering.pause_s:g} s; {home.agree} must agree"
    yield "evidence", f"adds up over utterances: {fades}, {forgets}"
    from serd.model.home import SENSITIVITIES

    for name in SENSITIVITIES:
        point = home.sensitivity[name]
        yield (
            f"sensitivity {name}",
            f"emotions from {point.threshold:.0%} on: {_cost(point)}",
        )


def _cost(point: OperatingPoint) -> str:
    return (
        f"about {point.events_per_hour:.3g} false emotional events in an hour of ordinary speech, "
        f"{point.recall:.0%} of emotional utterances told rightly"
    )


def _figures(figures: dict[str, Any]) -> str:
    """Single figures in one line; what is nested, such as confusion matrices, is for --json."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
        if isinstance(value, int | float | str)
    )
