"""The daemon loads its MQTT client without OpenSSL, and TLS still works when it is configured."""

from __future__ import annotations

import subprocess
import sys

PLAIN = """
import sys
from serd.cli import lean
lean.load_client()
import serd.daemon.process
import hashlib
heavy = {"ssl", "_ssl", "_hashlib", "urllib.request", "http.client", "email"} & sys.modules.keys()
assert not heavy, heavy
digest = hashlib.sha256(b"serd").hexdigest()
assert digest == "%s", digest
"""

ENCRYPTED = """
from serd.cli import lean
lean.load_client()
import paho.mqtt.client as paho
stand_in = paho.ssl
from serd.config import MqttConfig, TlsConfig
from serd.mqtt.access import Access
client = Access(MqttConfig(host="localhost", tls=TlsConfig(enabled=True))).client("x")
import ssl
assert stand_in is not ssl and paho.ssl is ssl
assert isinstance(client._ssl_context, ssl.SSLContext)
"""

LOADED_BEFORE = """
import ssl
from serd.cli import lean
lean.load_client()
import paho.mqtt.client as paho
assert paho.ssl is ssl
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_openssl_is_not_loaded_without_tls() -> None:
    import hashlib

    run(PLAIN % hashlib.sha256(b"serd").hexdigest())


def test_the_client_gets_the_real_ssl_module_with_tls() -> None:
    run(ENCRYPTED)


def test_an_ssl_module_that_is_already_loaded_is_kept() -> None:
    run(LOADED_BEFORE)
