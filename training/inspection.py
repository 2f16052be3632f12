"""Plots of a clip, a corpus or a run, for ``serd-train inspect``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - the type of a struct's field

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.errors import InputError
from serd.model.emotions import EMOTIONS
from serd.model.metadata import FeatureParameters  # noqa: TC001 - the type of a struct's field
from training.plots import (
    COLOURS,
    INK,
    OTHERS,
    SOFT,
    TRAINING,
    VALIDATION,
    figure,
    matrix,
    save,
    style,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from serd.model.classifier import Classifier
    from serd.recordings import ClassifiedUtterance
    from training.corpora import Corpus
    from training.run import Run

WINDOW_S, STEP_S = 3.0, 0.25
"""Length and step of the sliding window."""
_CHROMA_FFT = 4096
_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The data for the plots of a clip."""

    title: str
    start_s: float
    """Start in the recording."""
    samples: NDArray[np.float32]
    """``[n]``, mono, 16 kHz."""
    voiced: NDArray[np.bool_]
    """For each frame of 30 ms, whether the detector found a voice."""
    utterances: tuple[ClassifiedUtterance, ...]
    """Utterances of `serd classify`, in seconds of the recording."""
    times: NDArray[np.float64]
    """Centres of the sliding windows, in seconds of the recording."""
    scores: NDArray[np.float64]
    """``[windows, classes]``."""
    labels: tuple[str, ...]
    model: str
    features: FeatureParameters
    """Of the model's front end."""

    @property
    def end_s(self) -> float:
        """End in the recording."""
        return self.start_s + len(self.samples) / SAMPLE_RATE


def view_clip(path: Path, model: str, *, start_s: float = 0.0, end_s: float | None = None) -> View:
    """Decode a recording and compute the data for its plots.

    Args:
        path: Any file that libsndfile reads.
        model: A packed model file, or the name of a packaged one.
        start_s: Start in seconds.
        end_s: End in seconds; None: the end of the recording.

    Raises:
        InputError: It cannot be read, or the range is empty.
        ModelError: serd cannot use the model.
    """
    from serd.audio.file import read_mono16k
    from serd.config import Config, ModelConfig
    from serd.model.classifier import Classifier
    from serd.recordings import RecordingClassifier

    config = Config(model=ModelConfig(path=model))
    classifier = Classifier.load(model)
    result = RecordingClassifier(config).classify(path)
    if result.error is not None:
        raise result.error
    whole = read_mono16k(path)
    first = round(start_s * SAMPLE_RATE)
    last = len(whole) if end_s is None else min(len(whole), round(end_s * SAMPLE_RATE))
    if last - first < FRAME_SAMPLES:
        raise InputError(
            f"{path} has nothing to draw there",
            remedy=f"it lasts {len(whole) / SAMPLE_RATE:.2f} s; see --from and --to",
        )
    times, scores = slide(whole, classifier, first / SAMPLE_RATE, last / SAMPLE_RATE)
    return View(
        title=path.name,
        start_s=first / SAMPLE_RATE,
        samples=whole[first:last],
        voiced=voiced_frames(whole[first:last]),
        utterances=tuple(
            one
            for one in result.utterances
            if one.end_s > first / SAMPLE_RATE and one.start_s < last / SAMPLE_RATE
        ),
        times=times,
        scores=scores,
        labels=classifier.labels,
        model=f"{classifier.info.name} {classifier.info.version}",
        features=classifier.info.features,
    )


def voiced_frames(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """For each whole frame of 30 ms, whether the daemon's detector finds a voice in it."""
    from serd.config import SpeechConfig
    from serd.speech import make_vad

    vad = make_vad(SpeechConfig())
    scaled = np.clip(np.rint(samples * (32767.0 * vad.gain)), -32768, 32767).astype(np.int16)
    starts = range(0, len(scaled) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
    return np.array([vad.is_speech(scaled[at : at + FRAME_SAMPLES]) for at in starts], dtype=bool)


def slide(
    samples: NDArray[np.float32], classifier: Classifier, start_s: float, end_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of a model for every window of 3 s; those at the ends are shorter.

    Returns:
        Centres of the windows ``[n]`` in seconds, and probabilities ``[n, classes]``.
    """
    count = max(2, round((end_s - start_s) / STEP_S) + 1)
    times = np.linspace(start_s, end_s, count)
    half = round(WINDOW_S * SAMPLE_RATE / 2)
    rows = []
    for time in times:
        middle = round(time * SAMPLE_RATE)
        window = samples[max(0, middle - half) : middle + half]
        found = classifier.classify_utterance(np.ascontiguousarray(window)).scores
        rows.append([found[label] for label in classifier.labels])
    return times, np.array(rows)


def chromagram(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Power of the twelve pitch classes over time, ``[12, n]``, with a maximum of 1 per frame.

    Every bin of a 4096-point spectrum between 55 and 3520 Hz is assigned to the nearest note.
    """
    hop = 512
    padded = np.pad(samples, _CHROMA_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _CHROMA_FFT)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_CHROMA_FFT))) ** 2
    hertz = np.fft.rfftfreq(_CHROMA_FFT, 1.0 / SAMPLE_RATE)
    heard = (hertz >= 55.0) & (hertz <= 3520.0)
    # A is the tenth note from C.
    note = (np.rint(12.0 * np.log2(hertz[heard] / 440.0)).astype(int) + 9) % 12
    classes = np.zeros((12, len(power)))
    np.add.at(classes, note, power[:, heard].T)
    return np.asarray(classes / np.maximum(classes.max(axis=0, keepdims=True), 1e-12))


@style()
def draw(view: View, out: Path) -> list[Path]:
    """Plot a clip, from top to bottom: waveform, spectra, features, and the model's scores.

    Returns:
        The PNG and the SVG.
    """
    chart = figure(8.0, 11.0)
    rows = chart.subplots(6, 1, sharex=True, height_ratios=[1.1, 1.2, 1.2, 1.0, 0.8, 1.5])
    _waveform(rows[0], view)
    _spectra(rows[1:4], view)
    _image(rows[4], view, chromagram(view.samples), (0, 12), "magma")
    rows[4].set_title("Chromagram: the twelve notes, whatever the octave", loc="left", fontsize=9)
    rows[4].set_yticks(np.arange(0, 12, 2) + 0.5, _NOTES[::2])
    _scores(rows[5], view)
    rows[5].set_xlabel("seconds")
    rows[5].set_xlim(view.start_s, view.end_s)
    for axes in rows:
        axes.tick_params(labelsize=7)
    return save(chart, out)


def _waveform(axes: Any, view: View) -> None:
    time = view.start_s + np.arange(len(view.samples)) / SAMPLE_RATE
    # An envelope: a vector plot of every sample would take megabytes.
    part = max(1, len(view.samples) // 800)
    count = len(view.samples) // part
    blocks = view.samples[: count * part].reshape(count, part)
    axes.fill_between(
        time[: count * part : part], blocks.min(axis=1), blocks.max(axis=1), color=INK, lw=0
    )
    highest = float(np.abs(view.samples).max()) or 1.0
    axes.set_ylim(-1.15 * highest, 1.6 * highest)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], view.voiced.astype(int), [0]])))
    for begin, end in edges.reshape(-1, 2):
        axes.axvspan(*(view.start_s + np.array([begin, end]) * FRAME_SAMPLES / SAMPLE_RATE),
                     color="#a9c4dd", alpha=0.5, lw=0)  # fmt: skip
    for one in view.utterances:
        axes.hlines(1.2 * highest, one.start_s, one.end_s, color=COLOURS[one.emotion], lw=2)
        axes.text((one.start_s + one.end_s) / 2, 1.25 * highest,
                  f"{one.emotion} {one.confidence:.2f}", ha="center", va="bottom", fontsize=6.5,
                  color=COLOURS[one.emotion], clip_on=True)  # fmt: skip
    axes.set_title(
        f"{view.title}: waveform; shaded: the detector hears a voice; bars: the utterances of"
        " serd classify",
        loc="left",
        fontsize=9,
    )
    axes.set_ylabel("amplitude", fontsize=7)


def _spectra(rows: Any, view: View) -> None:
    params = view.features
    padded = np.pad(view.samples, params.fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, params.fft)[:: params.hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(params.fft))) ** 2
    level = 10.0 * np.log10(np.maximum(power.T, 1e-10))
    _image(rows[0], view, level, (0, SAMPLE_RATE / 2000), "magma", floor=level.max() - 80)
    rows[0].set_title("Log spectrogram, 80 dB", loc="left", fontsize=9)
    rows[0].set_ylabel("kHz", fontsize=7)
    mel, cosines = network_input(view.samples, params)
    _image(rows[1], view, mel.T, (0, params.mel_bands), "magma", floor=mel.max() - params.range_db)
    rows[1].set_title(
        f"Mel spectrogram as serd computes it: {params.mel_bands} bands, {params.range_db:.0f} dB"
        + (", with the model's room" if params.reverb is not None else ""),
        loc="left",
        fontsize=9,
    )
    rows[1].set_ylabel("band", fontsize=7)
    most = float(np.percentile(np.abs(cosines), 99))
    _image(rows[2], view, cosines.T, (0, params.coefficients), "RdBu_r", floor=-most, top=most)
    rows[2].set_title(
        f"serd's {params.coefficients} MFCCs, normalised as the network gets them",
        loc="left",
        fontsize=9,
    )
    rows[2].set_ylabel("coefficient", fontsize=7)


def network_input(
    samples: NDArray[np.float32], params: FeatureParameters
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a network would get of audio of any length, as if it were one utterance.

    Args:
        samples: ``[n]``, at the rate of ``params``.
        params: Of the front end.

    Returns:
        Mel bands in decibels, with the room of the front end, ``[frames, mel_bands]``, and the
        normalised coefficients, ``[frames, coefficients]``.
    """
    from serd.model.mfcc import MfccFrontEnd, cosine_matrix

    front_end = MfccFrontEnd(params)
    power = front_end.in_room(front_end.mel_power(samples)).astype(np.float64)
    mel = 10.0 * np.log10(np.maximum(power, params.amin))
    clamped = np.maximum(mel - mel.max(), -params.range_db)
    cosines = clamped @ cosine_matrix(params.mel_bands, params.coefficients)
    if params.mean and params.sd:
        cosines = (cosines - np.array(params.mean)) / np.array(params.sd)
    return mel, cosines


def _image(
    axes: Any,
    view: View,
    values: Any,
    span: tuple[float, float],
    colours: str,
    *,
    floor: float | None = None,
    top: float | None = None,
) -> None:
    axes.grid(visible=False)
    axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(view.start_s, view.end_s, *span),
        cmap=colours,
        vmin=floor,
        vmax=top,
    )


def _scores(axes: Any, view: View) -> None:
    from serd.style import COLOURS

    order = [view.labels.index(name) for name in COLOURS if name in view.labels]
    axes.stackplot(
        view.times,
        view.scores[:, order].T,
        colors=[COLOURS[view.labels[place]] for place in order],
        labels=[view.labels[place] for place in order],
        lw=0,
    )
    # Between utterances the daemon reports nothing: there the scores are pale.
    quiet = np.ones(len(view.samples), dtype=bool)
    for one in view.utterances:
        first = max(0, round((one.start_s - view.start_s) * SAMPLE_RATE))
        quiet[first : max(0, round((one.end_s - view.start_s) * SAMPLE_RATE))] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    for begin, end in edges.reshape(-1, 2):
        axes.axvspan(*(view.start_s + np.array([begin, end]) / SAMPLE_RATE),
                     color="white", alpha=0.7, lw=0)  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_ylabel("probability", fontsize=7)
    axes.set_title(
        f"What the model {view.model} makes of the {WINDOW_S:.0f} s around each moment"
        " (pale: outside utterances)",
        loc="left",
        fontsize=9,
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=8, fontsize=7,
                frameon=False, handlelength=1.0, columnspacing=1.0)  # fmt: skip


_SEXES = {"f": ("women", "#1b4f72"), "m": ("men", "#7fb3d5"), None: ("not known", OTHERS)}


@style()
def draw_corpus(corpus: Corpus, out: Path) -> list[Path]:
    """Plot the number of clips of each class, by sex, and of each speaker.

    Returns:
        The PNG and the SVG.
    """
    chart = figure(9.0, 3.8)
    classes, speakers = chart.subplots(1, 2, width_ratios=[1.4, 1])
    counts = Counter((clip.emotion, clip.sex) for clip in corpus.clips)
    names = [name for name in EMOTIONS if name in corpus.emotions]
    bottom = np.zeros(len(names))
    for sex, (label, colour) in _SEXES.items():
        heights = np.array([counts[name, sex] for name in names])
        if heights.any():
            classes.bar(names, heights, bottom=bottom, color=colour, label=label)
            bottom += heights
    for place, count in enumerate(bottom):
        classes.text(place, count, f"{count:.0f}", ha="center", va="bottom", fontsize=7)
    classes.set_ylim(0, 1.15 * bottom.max())
    classes.legend(fontsize=7, ncols=3, loc="upper right")
    classes.tick_params(axis="x", labelrotation=30)
    classes.set_title("Clips of each class", loc="left", fontsize=9)
    each = sorted(Counter(clip.speaker for clip in corpus.clips).values(), reverse=True)
    speakers.bar(range(1, len(each) + 1), each, color=SOFT, width=1.0)
    speakers.set_ylabel("clips", fontsize=8)
    classes.set_ylabel("clips", fontsize=8)
    speakers.set_title("Clips of each speaker, most first", loc="left", fontsize=9)
    speakers.set_xlabel(f"{len(each)} speakers", fontsize=8)
    for axes in (classes, speakers):
        axes.tick_params(labelsize=7)
    out_of = "; ".join(f"{count} {reason}" for reason, count in corpus.left_out.items())
    chart.suptitle(
        f"{corpus.title}: {len(corpus.clips)} clips ({corpus.licence})\n"
        f"left out: {out_of or 'nothing'}",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return save(chart, out)


@style()
def draw_run(run: Run, folder: Path) -> list[Path]:
    """Plot the curves of a run, and its confusion matrices if it has been evaluated.

    Returns:
        The files written.

    Raises:
        UsageError: It has not been trained.
    """
    curves: Sequence[dict[str, float]] = run.read("curves.json")
    chart = figure(9.0, 3.2)
    loss, accuracy = chart.subplots(1, 2)
    steps = [point["step"] for point in curves]
    loss.plot(steps, [point["loss"] for point in curves], color=TRAINING, marker=".")
    loss.set_title("Loss of the training batches", loc="left", fontsize=9)
    rate = loss.twinx()
    rate.plot(steps, [point["rate"] for point in curves], color=SOFT, lw=0.8, ls=":")
    rate.set_ylabel("learning rate (dotted)", fontsize=7)
    rate.tick_params(labelsize=6)
    for key, label, dashes in (
        ("validation_accuracy", "accuracy", "-"),
        ("validation_uar", "UAR", "--"),
    ):
        watched = [(point["step"], point[key]) for point in curves if key in point]
        if watched:
            where, share = zip(*watched, strict=True)
            accuracy.plot(where, share, dashes, marker=".", color=VALIDATION, label=label)
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("share", fontsize=8)
    loss.set_ylabel("loss", fontsize=8)
    accuracy.set_title("Validation speakers", loc="left", fontsize=9)
    if accuracy.get_legend_handles_labels()[0]:
        accuracy.legend(fontsize=8, loc="lower right")
    for axes in (loss, accuracy):
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(lw=0.3)
    written = save(chart, folder / "curves")
    if (run.folder / "metrics.json").is_file():
        found = run.read("metrics.json")
        written += _draw_confusions({**found["test"], **found["cross_corpus"]}, folder)
    return written


def _draw_confusions(figures: dict[str, Any], folder: Path) -> list[Path]:
    chart = figure(4.2 * len(figures), 4.2)
    row = chart.subplots(1, len(figures), squeeze=False)[0]
    for axes, (name, one) in zip(row, figures.items(), strict=True):
        matrix(axes, one["confusion"], one["labels"], one["labels"])
        axes.set_title(f"{name}: UAR {100 * one['uar']:.1f} %", fontsize=9, loc="left")
        axes.set_xlabel("predicted emotion", fontsize=8)
        axes.set_ylabel("true emotion", fontsize=8)
    return save(chart, folder / "confusion")
