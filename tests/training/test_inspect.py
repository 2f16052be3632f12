from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from serd.model.mfcc import MfccFrontEnd
from tests.training.recipes import tiny_recipe
from tests.training.synthetic import RATE
from training.cli.main import main
from training.inspection import chromagram, network_input, view_clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.testing import Result

pytest.importorskip("matplotlib")

SAMPLE = Path(__file__).parents[2] / "serd" / "audio" / "data" / "sample.ogg"
PNG = b"\x89PNG\r\n\x1a\n"


def inspect(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def assert_drawn(folder: Path, names: Sequence[str]) -> None:
    """Each picture exists as a PNG and as an SVG file."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{ending}" for name in names for ending in ("png", "svg")
    )
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(PNG)
        assert "</svg>" in (folder / f"{name}.svg").read_text()


@pytest.mark.slow
def test_a_clip_is_drawn_from_waveform_to_scores(tmp_path: Path) -> None:
    result = inspect(SAMPLE, "--from", "4", "--to", "7", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert_drawn(tmp_path, ["sample"])
    text = (tmp_path / "sample.svg").read_text()
    for part in ("waveform", "Log spectrogram", "Mel spectrogram", "MFCCs", "Chromagram"):
        assert part in text
    for emotion in ("neutral", "calm", "surprised"):
        assert f"<!-- {emotion} -->" in text


@pytest.mark.slow
def test_the_same_clip_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a", "b"):
        inspect(SAMPLE, "--to", "1", "--out", tmp_path / name)
    first, second = (tmp_path / name / "sample.png" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_view_contains_samples_voicing_scores_and_utterances() -> None:
    view = view_clip(SAMPLE, "default", start_s=4.0, end_s=9.0)
    assert (view.start_s, view.end_s, len(view.samples)) == (4.0, 9.0, 5 * RATE)
    assert len(view.voiced) == 5 * RATE // 480
    assert 0.2 < view.voiced.mean() < 0.9
    assert view.scores.shape == (21, len(view.labels))
    np.testing.assert_allclose(view.scores.sum(axis=1), 1.0, atol=1e-4)
    # Utterances that overlap the view are included, others are not.
    assert view.utterances
    assert all(one.start_s < 9.0 and one.end_s > 4.0 for one in view.utterances)


def test_the_coefficients_are_those_that_the_network_gets() -> None:
    view = view_clip(SAMPLE, "default", start_s=4.0, end_s=6.0)
    frames = view.features.frames_of(len(view.samples))
    mel, cosines = network_input(view.samples, view.features)
    assert mel.shape == (frames, view.features.mel_bands)
    whole = msgspec.structs.replace(view.features, frames=frames)
    expected = MfccFrontEnd(whole).features(view.samples)
    np.testing.assert_allclose(cosines, expected, atol=1e-4)


def test_a_tone_is_one_note_in_the_chromagram() -> None:
    time = np.arange(RATE) / RATE
    for hertz, note in ((440.0, 9), (880.0, 9), (261.63, 0), (329.63, 4)):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        inner = chromagram(tone)[:, 5:-5]
        assert (inner.argmax(axis=0) == note).all()
        assert inner.max() == pytest.approx(1.0)


def test_a_corpus_is_drawn(synthetic_corpora: Path, tmp_path: Path) -> None:
    result = inspect("--corpus", "ravdess", "--corpora", synthetic_corpora, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert_drawn(tmp_path, ["corpus-ravdess"])
    text = (tmp_path / "corpus-ravdess.svg").read_text()
    assert "96 clips" in text
    assert "6 speakers" in text


@pytest.mark.slow
def test_a_run_is_drawn_with_a_confusion_matrix_once_it_has_one(tmp_path: Path) -> None:
    from training.run import Run

    run = Run(tmp_path / "run", tiny_recipe())
    points = [{"step": 20 * n, "loss": 2.0 / n, "rate": 0.001 * n} for n in (1, 2, 3)]
    (run.folder / "curves.json").write_bytes(msgspec.json.encode(points))
    assert inspect("--run", run.folder, "--out", tmp_path / "early").exit_code == 0
    assert_drawn(tmp_path / "early", ["curves"])
    validated = [{**p, "validation_accuracy": 0.5, "validation_uar": 0.4} for p in points]
    (run.folder / "curves.json").write_bytes(msgspec.json.encode(validated))
    figures = {"uar": 0.75, "labels": ["calm", "sad"], "confusion": [[3, 1], [1, 3]]}
    metrics = {"test": {"ravdess": figures}, "cross_corpus": {"emodb": figures}}
    (run.folder / "metrics.json").write_bytes(msgspec.json.encode(metrics))
    assert inspect("--run", run.folder, "--out", tmp_path / "late").exit_code == 0
    assert_drawn(tmp_path / "late", ["curves", "confusion"])
    assert "emodb: UAR 75.0 %" in (tmp_path / "late" / "confusion.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Nothing to draw"),
        ((SAMPLE, "--from", "4000"), "nothing to draw there"),
        ((SAMPLE, "--from", "3", "--to", "3"), "nothing to draw there"),
        (("a/x.wav", "b/x.wav"), "same name"),
        (("no-such-file.wav",), "no-such-file.wav"),
        (("--run", "no-such-run"), "no run"),
    ],
)
def test_errors_are_reported_without_a_traceback_or_output_files(
    arguments: tuple[str | Path, ...], complaint: str, tmp_path: Path
) -> None:
    result = inspect(*arguments, "--out", tmp_path)
    assert result.exit_code not in {0, 1}
    assert complaint in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())
