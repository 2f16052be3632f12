"""An internet radio on loopback: ``python -m tests.http_stream SPEECH PORT KIND [LOGIN]``.

Prints its port. Each client is served by an ffmpeg that plays SPEECH in a loop, in real time, as
KIND (mp3, ogg, aac, ts, wav). ``/changing.aac`` changes rate and channels every few seconds;
``/video.ts`` has no audio; ``/file.mp3`` is a recording that is sent as fast as possible and ends;
``/playlist.m3u8`` and ``/list.ffconcat`` refer to a local file; ``/away`` redirects to one.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

CODECS = {
    "mp3": ("-c:a", "libmp3lame", "-f", "mp3"),
    "ogg": ("-c:a", "libvorbis", "-f", "ogg"),
    "aac": ("-c:a", "aac", "-f", "adts"),
    "ts": ("-c:a", "aac", "-f", "mpegts"),
    "wav": ("-c:a", "pcm_s16le", "-f", "wav"),
}


class Handler(BaseHTTPRequestHandler):
    """Serves one client."""

    speech: ClassVar[str] = ""
    kind: ClassVar[str] = "mp3"
    login: ClassVar[str] = ""

    def do_GET(self) -> None:
        expected = base64.b64encode(self.login.encode()).decode()
        if self.login and self.headers.get("Authorization") != f"Basic {expected}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="radio"')
            self.end_headers()
            return
        path = self.path.partition("?")[0]
        texts = {
            "/playlist.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:40\n#EXTINF:30,\n"
            f"file://{self.speech}\n#EXT-X-ENDLIST\n",
            "/list.ffconcat": f"ffconcat version 1.0\nfile 'file:{self.speech}'\n",
        }
        if path == "/away":
            self.send_response(302)
            self.send_header("Location", f"file://{self.speech}")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        if path in texts:
            self.wfile.write(texts[path].encode())
        elif path == "/changing.aac":
            self._change()
        elif path == "/video.ts":
            picture = ("-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=5")
            self._send(*picture, "-c:v", "mpeg2video", "-f", "mpegts")
        elif path == "/file.mp3":
            self._send("-i", self.speech, *CODECS["mp3"])
        else:
            self._send("-re", "-stream_loop", "-1", "-i", self.speech, *CODECS[self.kind])

    def _change(self) -> None:
        """Send speech that alternates between two formats, endlessly."""
        while self._send("-re", "-i", self.speech, "-t", "8", *CODECS["aac"], rate="16000"):
            if not self._send("-re", "-i", self.speech, "-t", "8", "-ac", "2", *CODECS["aac"],
                              rate="44100"):  # fmt: skip
                return

    def _send(self, *options: str, rate: str = "") -> bool:
        command = ["ffmpeg", "-loglevel", "error", *options]
        if rate:
            command += ["-ar", rate]
        with subprocess.Popen([*command, "pipe:1"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE) as ffmpeg:  # fmt: skip
            assert ffmpeg.stdout is not None
            try:
                while data := ffmpeg.stdout.read1(65_536):  # type: ignore[attr-defined]
                    self.wfile.write(data)
            except OSError:
                ffmpeg.kill()
                return False
        return True

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    """Serve until killed."""
    Handler.speech, port, Handler.kind, *login = sys.argv[1:]
    Handler.login = login[0] if login else ""
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
