"""Why there is no connection, in words that say what to look at."""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING

from serd.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.reasoncodes import ReasonCode

    from serd.mqtt.access import Access


def explain(error: BaseException, access: Access) -> str:
    """Why the connection could not be made, in words."""
    address = access.address
    sentence: str
    if (tls := sys.modules.get("ssl")) and isinstance(error, tls.SSLError):
        sentence = f"{address}: {_explain_tls(error)}"
    elif isinstance(error, ConnectionRefusedError):
        sentence = f"connection refused: is a broker running at {address}?"
    elif isinstance(error, socket.gaierror):
        sentence = f"the name {access.host} is not known: {error.strerror or error}"
    elif isinstance(error, TimeoutError):
        sentence = f"{address} does not answer"
    elif isinstance(error, OSError) and error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        sentence = f"there is no way to {address}: {error.strerror}"
    elif isinstance(error, ConnectionResetError):
        sentence = f"{address} closed the connection"
    elif isinstance(error, ConfigError):
        sentence = error.message
    else:
        sentence = f"{address}: {getattr(error, 'strerror', None) or error}"
    return sentence


def _explain_tls(error: ssl.SSLError) -> str:
    refused = getattr(error, "verify_message", None)  # of an SSLCertVerificationError
    if refused is not None:
        return f"the broker's certificate is not accepted: {refused}"
    return explain_alert(str(error)) or f"TLS failed: {error.reason or error}"


def explain_connack(reason: ReasonCode, access: Access) -> str:
    """Why the broker refused the login, in words."""
    # paho hands MQTT 3.1.1's return codes over as MQTT 5 reason codes.
    text = str(reason)
    if text in {"Bad user name or password", "Not authorized"}:
        if access.username is None:
            return f"{access.address} wants a user name and a password"
        return f"{access.address}: wrong user name or password for {access.username!r}"
    if text in {"Server busy", "Quota exceeded", "Connection rate exceeded", "Server unavailable"}:
        return (
            f"{access.address} takes no more connections ({text.lower()}): are all that it allows "
            "in use (mosquitto: max_connections)?"
        )
    return f"{access.address} refuses the connection: {text.lower()}"


def explain_silence(access: Access, *, at_once: bool) -> str:
    """Why a broker may hang up without an answer, in words.

    Args:
        access: The way to it.
        at_once: Whether it does so before anything was said to it.
    """
    if at_once:
        return (
            f"{access.address} closes new connections at once: are all that it allows in use "
            "(mosquitto: max_connections), or may this machine not connect?"
        )
    # With TLS 1.3 the alert that says so may be lost in the reset that follows it.
    wants = "a client certificate (mqtt.tls.cert)" if access.tls else "TLS (mqtt.tls.ca)"
    return f"{access.address} closed the connection without an answer: does it want {wants}?"


def explain_end(reason: str, client_id: str) -> str:
    """Why an MQTT 5 broker has ended a connection: what follows its address in a sentence.

    Args:
        reason: The name of the reason code, as MQTT 5 has it.
        client_id: Our name there.
    """
    if reason == "Session taken over":
        return f"has another client that calls itself {client_id}, and ended this connection for it"
    return f"ended the connection: {reason.lower()}"


def explain_refusal(reason: ReasonCode) -> str:
    """Why an MQTT 5 broker has not taken a message: what follows the topic in a sentence."""
    text = str(reason)
    if text == "Not authorized":
        return "is forbidden by the broker's access rules"
    return f"is not taken by the broker: {text.lower()}"


def explain_alert(text: str) -> str | None:
    """The peer's TLS alert in words, or None if the text speaks of none."""
    known = {
        "CERTIFICATE_REQUIRED": "the broker wants a client certificate: set mqtt.tls.cert and key",
        "UNKNOWN_CA": "the broker does not know who signed the client certificate",
        "CERTIFICATE_EXPIRED": "the client certificate has expired",
        "CERTIFICATE_REVOKED": "the client certificate is revoked",
        "BAD_CERTIFICATE": "the broker does not accept the client certificate",
        "HANDSHAKE_FAILURE": "the broker refuses the TLS handshake (a client certificate missing?)",
        "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
        "RECORD_LAYER_FAILURE": "what answers there does not speak TLS",
    }
    upper = text.upper().replace(" ", "_")
    return next((words for sign, words in known.items() if sign in upper), None)
