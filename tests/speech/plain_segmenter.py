"""A reference segmenter for whole recordings: slow, simple and written from the specification.

It has no blocks and no streaming state: it first finds stretches of speech, then cuts them into
windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from serd.audio.level import rms_dbfs
from serd.speech.voice import rejection

if TYPE_CHECKING:
    from serd.config import SpeechConfig
    from serd.speech import Vad
    from tests.speech.signals import Samples

FRAME = 480
Outcome = tuple[str, int, int, float, float, bool]
"""``utterance`` or the reason for the discard; start, end, level, voiced share, cut."""


def frames_voiced(samples: Samples, settings: SpeechConfig, vad: Vad) -> list[bool]:
    """Whether each complete frame is voiced."""
    count = len(samples) // FRAME
    frames = [samples[i * FRAME : (i + 1) * FRAME] for i in range(count)]
    energies = [float(np.sum(np.square(frame.astype(np.float64)))) for frame in frames]
    vad.reset()
    voiced = []
    for i, energy in enumerate(energies):
        loud = energy / FRAME >= 10 ** (settings.min_level_dbfs / 10)
        if i >= 66:  # after two seconds, the noise floor of the room is known
            quietest = min(energies[max(0, (i // 16 - 8) * 16) : i + 1])
            loud = loud and energy >= 10**0.8 * quietest
        pcm = np.clip(np.rint(frames[i] * np.float32(32767 * vad.gain)), -32768, 32767)
        voiced.append(loud and vad.is_speech(pcm.astype(np.int16)))
    return voiced


def segment(samples: Samples, settings: SpeechConfig, vad: Vad) -> list[Outcome]:
    """Every utterance that began, with its outcome."""
    voiced = frames_voiced(samples, settings, vad)
    pause = max(FRAME, round(settings.hangover_s * 16000))
    margin = round(settings.preroll_s * 16000)
    outcomes: list[Outcome] = []
    free = here = 0
    while here < len(voiced):
        # Onset: enough of the last five frames are voiced, none of them in the previous speech.
        onset = here
        while onset < len(voiced):
            window = [i for i in range(max(here, onset - 4), onset + 1) if voiced[i]]
            if len(window) >= settings.onset_frames:
                break
            onset += 1
        else:
            break
        # The stretch ends with the first frame that completes a pause, or with the recording.
        speech = list(window)
        closed, here = len(samples), len(voiced)
        for i in range(onset + 1, len(voiced)):
            if voiced[i]:
                speech.append(i)
            elif (i + 1) * FRAME - (speech[-1] + 1) * FRAME >= pause:
                closed, here = (i + 1) * FRAME, i + 1
                break
        found = _windows(samples, speech, closed, max(speech[0] * FRAME - margin, free), settings)
        outcomes += found
        free = found[-1][2]
    return outcomes


def _windows(
    samples: Samples, speech: list[int], closed: int, start: int, settings: SpeechConfig
) -> list[Outcome]:
    """Cut a stretch of speech into windows."""
    window = round(settings.window_s * 16000)
    margin = round(settings.preroll_s * 16000)
    speech_end = (speech[-1] + 1) * FRAME
    outcomes = []
    while speech_end > start:
        full = start + window
        # The frame in which the window fills up, if that is before the end of speech is known.
        frame_end = -(-full // FRAME) * FRAME
        if speech_end > full or (frame_end < closed or (frame_end == closed == len(samples))):
            end, cut = full, True
        else:
            end = min(speech_end + margin, closed)
            cut = end > full
            end = min(end, full)
        outcomes.append(_judge(samples, speech, (start, end), settings, cut=cut))
        start = end
        if not cut:
            break
    return outcomes


def _judge(
    samples: Samples,
    speech: list[int],
    span: tuple[int, int],
    settings: SpeechConfig,
    *,
    cut: bool,
) -> Outcome:
    start, end = span
    mask = np.zeros(len(samples), bool)
    for i in speech:
        mask[i * FRAME : (i + 1) * FRAME] = True
    share = float(mask[start:end].mean())
    audio = samples[start:end]
    level = rms_dbfs(audio)
    verdict = "utterance"
    if end - start < round(settings.min_speech_s * 16000):
        verdict = "short"
    elif level < settings.min_level_dbfs:
        verdict = "quiet"
    elif share < settings.min_voiced_share:
        verdict = "unvoiced"
    elif reason := rejection(audio):
        verdict = reason
    return verdict, start, end, level, share, cut
