"""The usual pipeline from tutorials: librosa for features, Keras or TFLite for the network.

Reads clips of 3 s one after the other, computes MFCCs, runs the network, and publishes the result
over MQTT. No voice activity detection, no journal, no calibration: it does less than serd.

``python -m benchmarks.contenders.pipeline keras|tflite MODEL WAV CLIPS PORT OUT``
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PAUSE_S = 0.4
"""Idle seconds before each clip, so that caches are cold, as they are in real time."""

LABELS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]


def tell(what: str) -> None:
    """Notify the measuring process that a point has been reached."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(what.encode(), os.environ["NOTIFY_SOCKET"])


def load_keras(path: str) -> Any:
    """A Keras model, called as tutorials call it."""
    import keras

    model = keras.models.load_model(path)
    return lambda features: model.predict(features, verbose=0)[0]


def load_tflite(path: str) -> Any:
    """A TFLite interpreter, called as tutorials call it."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = given["quantization"]

    def predict(features: Any) -> Any:
        steps = np.clip(np.round(features / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], steps)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])[0]

    return predict


def main(*arguments: str) -> None:
    """Run the pipeline and write what was measured."""
    engine, model, wav, clips, port, out = arguments
    import librosa
    import numpy as np
    import paho.mqtt.client as mqtt
    import soundfile
    from paho.mqtt.enums import CallbackAPIVersion

    predict = load_keras(model) if engine == "keras" else load_tflite(model)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    tell("READY=1")

    latencies: list[float] = []
    processor_s = 0.0
    with soundfile.SoundFile(wav) as file:
        for number in range(int(clips)):
            clip = file.read(3 * 16_000, dtype="float32")
            time.sleep(PAUSE_S)
            begun, processor = time.perf_counter(), time.process_time()
            mfcc = librosa.feature.mfcc(
                y=clip, sr=16_000, n_mfcc=64, n_fft=512, hop_length=256, n_mels=64
            )
            probabilities = predict(mfcc.T[np.newaxis, :188].astype(np.float32))
            best = int(np.argmax(probabilities))
            message = {"emotion": LABELS[best], "confidence": float(probabilities[best])}
            client.publish("emotion", json.dumps(message), qos=1)
            latencies.append(1000 * (time.perf_counter() - begun))
            if number == 0:
                tell("FIRST=1")
                latencies.clear()
            else:
                processor_s += time.process_time() - processor
    client.loop_stop()
    figures = {"latency_ms": latencies, "cpu_s_per_clip": processor_s / len(latencies)}
    Path(out).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
