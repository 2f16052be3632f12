"""The parent's side of :mod:`tests.fuzz.worker`: a crash or a hang becomes a failed test."""

from __future__ import annotations

import json
import select
import struct
import subprocess
import sys
from pathlib import Path
from typing import Self

PATIENCE_S = 20.0


class Isolated:
    """Runs cases in a separate process, and starts a new one after each that died.

    Args:
        kind: "model" or "audio".
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._process: subprocess.Popen[bytes] | None = None
        self.answers = {"ok": 0, "refused": 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, content: bytes) -> str:
        """Run one case; return the worker's answer.

        Raises:
            AssertionError: It crashed, hung, or raised an unexpected exception.
        """
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(struct.pack("<I", len(content)) + content)
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        line = process.stdout.readline() if ready else b""
        if not line:
            code = process.poll() if ready else None
            self._end()
            raise AssertionError(
                f"the process died (exit code {code or self._code})" if ready else "it hangs"
            )
        answer: str = json.loads(line)
        kind = answer.split(" ", 1)[0]
        assert kind in self.answers, answer
        self.answers[kind] += 1
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", self._kind],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            self._code = process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        continue
