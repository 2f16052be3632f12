"""A camera without hardware: GStreamer's RTSP server on loopback.

A separate program for the system's Python, which has GStreamer's bindings (python3-gi):
``/usr/bin/python3 rtsp_server.py SPEECH PORT [PASSWORD]`` prints its port. SPEECH is raw 16-bit
little-endian mono at 16 kHz and is played in a loop. With PASSWORD, the user name is "camera".
"""

from __future__ import annotations

import sys

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

SOUND = (
    "multifilesrc location={speech} loop=true ! rawaudioparse format=pcm pcm-format=s16le "
    "sample-rate=16000 num-channels=1 ! audioconvert ! audioresample ! "
)
PICTURE = (
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=5/1 ! "
    "jpegenc ! "
)
PATHS = {
    "/l16": SOUND + "audio/x-raw,rate=16000 ! rtpL16pay name=pay0",
    "/pcmu": SOUND + "audio/x-raw,rate=8000 ! mulawenc ! rtppcmupay name=pay0",
    "/opus": SOUND + "audio/x-raw,rate=48000 ! opusenc ! rtpopuspay name=pay0",
    "/stereo": SOUND + "audio/x-raw,rate=44100,channels=2 ! rtpL16pay name=pay0",
    "/video": PICTURE + "rtpjpegpay name=pay0",
    "/camera": PICTURE + "rtpjpegpay name=pay0 " + SOUND
    + "audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay1",
}  # fmt: skip


def main() -> None:
    """Serve until killed."""
    speech, port, *password = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if password:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken.new()
        token.set_string("media.factory.role", "camera")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("camera", password[0]), token)
        server.set_auth(auth)
    for path, launch in PATHS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {launch.format(speech=speech)} )")
        if password:
            permissions = GstRtspServer.RTSPPermissions.new()
            permissions.add_role("camera")
            for what in ("access", "construct"):
                permissions.add_permission_for_role("camera", f"media.factory.{what}", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
