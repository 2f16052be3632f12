"""Checks of the broker, step by step: name, TCP, TLS, login, publishing, other nodes.

Each step is only taken if the one before worked, so the first failure names the cause.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final

import msgspec

from serd import language
from serd.doctor.result import CheckResult, fail, failed, ok, skip, warn
from serd.errors import ConfigError
from serd.events.state import decode_state, microphone
from serd.mqtt.access import Access
from serd.mqtt.client import explain
from serd.mqtt.discovery import discovery_payload, discovery_topic
from serd.mqtt.link import Link, LinkError
from serd.mqtt.topics import Topics
from serd.network import LOOPBACK, is_loopback, why_port_is_taken
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serd.config import Config
    from serd.config.schema import MqttConfig
    from serd.mqtt.link import Limits

TIMEOUT_S: Final = 5.0
"""Seconds each step may take."""

RETAINED_S: Final = 0.2
"""Seconds to wait for retained messages after the subscription is acknowledged."""

ECHO_S: Final = 3.0
"""Seconds a message may take to the broker and back."""

EXPIRES_DAYS: Final = 14
"""Warn of a certificate that expires within this many days."""

COMMON_CHECKS: Final = (
    "broker", "broker name", "broker TCP", "broker TLS", "broker login", "broker limits",
)  # fmt: skip
"""The checks that are the same for every node."""

_PROBLEM_MAX: Final = 300
_SPEAKS_NO_TLS: Final = "does not speak TLS"


def closed_by_broker(config: Config) -> str | None:
    """Why a node's microphone is closed according to the broker; None if it does not say so.

    The end of a sentence that starts with the node's name. An unreachable broker is no result here;
    it is checked later.
    """
    if config.mqtt.embedded:
        return None
    link: Link | None = None
    try:
        topics = Topics(config.mqtt.base_topic, config.node)
        link = Link(Access(config.mqtt), f"serd-check-{os.getpid()}")
        link.open()
        link.subscribe([topics.status, topics.state, topics.mute])
        link.wait_for_subscription(ECHO_S)
        link.step(RETAINED_S)  # retained messages follow the acknowledgement
        return _closed(_retained(link), topics)
    except (ConfigError, LinkError):
        return None
    finally:
        if link is not None:
            link.close()


def _retained(link: Link) -> dict[str, bytes]:
    return {message.topic: bytes(message.payload) for message in link.received if message.retain}


def _closed(retained: dict[str, bytes], topics: Topics) -> str | None:
    if retained.get(topics.mute) == b"ON":
        return "is muted"
    if retained.get(topics.status) == b"online" and _microphone(retained, topics) == "quiet":
        return "is in quiet hours"
    return None


def _microphone(retained: dict[str, bytes], topics: Topics) -> str:
    """The state of the microphone as the node reports it."""
    try:
        state = decode_state(retained.get(topics.state, b""))
    except ValueError:
        state = None
    online = {b"online": True, b"offline": False}.get(retained.get(topics.status, b""))
    return microphone(online, state, muted=retained.get(topics.mute) == b"ON")


def check_broker(config: Config, *, running_here: bool = False) -> Iterator[CheckResult]:
    """Check every step to the broker and back.

    Args:
        config: The configuration.
        running_here: Whether a daemon runs on this machine, so that a node of this name is expected
            on the broker.
    """
    if config.mqtt.embedded:
        yield _embedded(running_here=running_here, port=config.mqtt.port)
        if not running_here:
            return
    try:
        access = Access(config.mqtt)
        topics = Topics(config.mqtt.base_topic, config.node)
    except ConfigError as error:
        yield failed("broker", error, "correct the key named in the message")
        return
    for step in (_name, _tcp, _tls):
        result = step(access)
        if result is not None:
            yield result
            if result.status == "fail":
                return
    yield from _session(config, access, topics, running_here=running_here)


def _embedded(*, running_here: bool, port: int) -> CheckResult:
    if importlib.util.find_spec("amqtt") is None:
        return fail(
            "broker",
            "mqtt.host is embedded, but the package it needs is not installed",
            "pip install 'serd-emotion[embedded]', or install mosquitto and set mqtt.host: "
            "localhost",
            configured=True,
        )
    if running_here:
        return ok("broker", "serd runs its own broker, for this machine only")
    if reason := why_port_is_taken(port):
        return fail(
            "broker",
            f"mqtt.host is embedded, but port {port} is taken: {reason}",
            "a broker is running there already: set mqtt.host: localhost; or set another mqtt.port",
            configured=True,
        )
    return ok(
        "broker", f"serd will start its own broker on {LOOPBACK}:{port}, for this machine only"
    )


def _name(access: Access) -> CheckResult:
    try:
        found = socket.getaddrinfo(access.host, access.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        local = access.host.endswith(".local")
        return fail(
            "broker name",
            explain(error, access),
            "for names in .local install avahi-daemon and libnss-mdns, or set mqtt.host to the "
            "broker's address"
            if local
            else "check the spelling of mqtt.host, or set it to the broker's address",
        )
    addresses = sorted({str(info[4][0]) for info in found})
    shown = ", ".join(addresses[:3])
    return ok("broker name", shown if shown == access.host else f"{access.host} is {shown}")


def _tcp(access: Access) -> CheckResult:
    try:
        with socket.create_connection((access.host, access.port), timeout=TIMEOUT_S):
            return ok("broker TCP", f"{access.address} accepts connections")
    except ConnectionRefusedError as error:
        here = "`systemctl status mosquitto`"
        remedy = (
            f"start the broker ({here}), or correct mqtt.port"
            if is_loopback(access.host)
            else f"on that machine, look at {here}; mosquitto listens to other machines only with "
            "a line `listener 1883` in its configuration; or correct mqtt.port"
        )
        return fail("broker TCP", explain(error, access), remedy)
    except OSError as error:
        return fail(
            "broker TCP",
            explain(error, access),
            "is that machine on and in this network, and is the port open in its firewall?",
        )


def _tls(access: Access) -> CheckResult | None:
    if not access.tls:
        return None
    try:
        context = access.tls_context()
        assert context is not None  # noqa: S101 - for the type checker
        with (
            socket.create_connection((access.host, access.port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=access.host) as secured,
        ):
            certificate = secured.getpeercert() or {}
            version = secured.version()
    except ConfigError as error:
        return failed("broker TLS", error, "correct the file named in the message")
    except ssl.SSLCertVerificationError as error:
        return fail("broker TLS", explain(error, access), _certificate_remedy(error, access))
    except OSError as error:
        reason = explain(error, access)
        return fail("broker TLS", reason, _tls_remedy(reason))
    until = certificate.get("notAfter")
    if isinstance(until, str):
        days = (ssl.cert_time_to_seconds(until) - time.time()) / 86_400
        if days < EXPIRES_DAYS:
            return warn(
                "broker TLS",
                f"works ({version}), but the broker's certificate expires in {days:.0f} days",
                "renew it on the broker's machine, and restart the broker",
            )
    return ok("broker TLS", f"{version}, the certificate is valid for {access.host}")


def _certificate_remedy(error: ssl.SSLCertVerificationError, access: Access) -> str:
    # The codes are X509_V_ERR_* of OpenSSL (x509_vfy.h).
    if error.verify_code == 10:
        return "renew the broker's certificate; if it is new, check this machine's clock (`date`)"
    if error.verify_code == 9:
        return "check this machine's clock (`date`): the certificate is not valid yet"
    if error.verify_code in {62, 64}:
        return (
            f"the certificate was issued for another name than {access.host}: set mqtt.host to the "
            "name in it, or issue one for this name"
        )
    return "set mqtt.tls.ca to the certificate of the authority that signed the broker's"


def _tls_remedy(reason: str) -> str:
    if _SPEAKS_NO_TLS in reason or "closed the connection" in reason:
        return "brokers usually speak TLS on port 8883: correct mqtt.port, or switch mqtt.tls off"
    return "check which protocol versions and client certificates the broker requires"


def _session(
    config: Config, access: Access, topics: Topics, *, running_here: bool
) -> Iterator[CheckResult]:
    link = Link(access, f"serd-check-{os.getpid()}")
    try:
        link.open()
    except LinkError as error:
        yield fail("broker login", error.message, _login_remedy(error.message, access))
        return
    try:
        who = "without a user name" if access.username is None else f"as {access.username}"
        yield ok("broker login", f"logged in {who}, with MQTT {link.limits.version}")
        yield from _limits(link.limits)
        announcement = discovery_topic(topics, config.mqtt.discovery_prefix)
        announced = f"{announcement.removesuffix('/config')}/check"
        own = f"{topics.base}/{topics.node}/check"
        # Empty, which subscribers ignore; but access rules may name this topic.
        probes = [(own, b"check"), (topics.emotion, b"")]
        known = [topics.status, topics.mute, topics.state, topics.telemetry]
        # What is sent there meanwhile is the node's business; this only asks whether it may read.
        commands = [topics.mute_set, topics.sensitivity_set, topics.correct]
        link.subscribe([*known, announced, *commands, *(topic for topic, _ in probes)])
        faults = list(_echoes(link, topics, probes))
        yield from faults or [ok("broker publish", f"a message to {own} came back")]
        yield from _commands(link, topics, commands)
        if config.mqtt.discovery and not faults:
            yield from _discovery(config, link, topics, announced)
        yield from _others(config, link, topics, running_here=running_here)
    except LinkError as error:
        yield fail(
            "broker publish",
            error.message,
            "the broker disconnects clients that break its rules: its log says which",
        )
    finally:
        link.close()


def _login_remedy(reason: str, access: Access) -> str:
    if "wants a user name" in reason:
        return "set mqtt.username and mqtt.password_file"
    if "wrong user name" in reason:
        return (
            "correct mqtt.username and the first line of mqtt.password_file; "
            "on the broker's machine `mosquitto_passwd` sets a password"
        )
    if "max_connections" in reason:
        return "allow more connections on the broker, or stop clients you do not need"
    if "client certificate" in reason:
        return "set mqtt.tls.cert and mqtt.tls.key to a certificate the broker accepts"
    if not access.tls:
        return (
            "is it a broker, and is mqtt.port right? If it expects TLS there, set "
            "mqtt.tls.enabled: true, or mqtt.tls.ca"
        )
    return "is it a broker, and is mqtt.port right? Its log says why it disconnected"


def _limits(limits: Limits) -> Iterator[CheckResult]:
    """Features the broker says it lacks."""
    lacking = []
    if not limits.retain:
        lacking.append("keeps no retained messages (mosquitto: retain_available)")
    if not limits.qos:
        lacking.append("takes QoS 0 only and acknowledges nothing (mosquitto: max_qos)")
    if lacking:
        yield warn(
            "broker limits",
            f"the broker {' and '.join(lacking)}",
            "allow it on the broker: without it new subscribers do not learn the current state, "
            "and lost events are not sent again",
        )


def _echoes(
    link: Link, topics: Topics, messages: Sequence[tuple[str, bytes]]
) -> Iterator[CheckResult]:
    node = f"{topics.base}/{topics.node}"
    back, refused = link.round_trip(messages, ECHO_S)
    for topic, _ in messages:
        if (refusal := refused.get(topic)) is not None:
            reason = f"{topic} {refusal.reason}"
        elif topic not in back:
            reason = f"{topic} does not come back: the broker's access rules drop what is published"
        else:
            continue
        yield fail(
            "broker publish",
            reason,
            f"let this user read and write there (mosquitto's acl_file: `topic readwrite {node}/#`)"
            if refusal is None or refusal.size is None
            else "raise the broker's limit (mosquitto: max_packet_size)",
        )
        return


def _commands(link: Link, topics: Topics, commands: Sequence[str]) -> Iterator[CheckResult]:
    link.wait_for_subscription(ECHO_S)
    if refused := [topic for topic in commands if topic in link.unreadable_filters]:
        yield fail(
            "broker commands",
            f"the broker does not let this user subscribe to {', '.join(refused)}: what is sent "
            "there does not arrive",
            f"let this user read {topics.base}/{topics.node}/# on the broker",
        )


def _discovery(config: Config, link: Link, topics: Topics, topic: str) -> Iterator[CheckResult]:
    """Publish a message of the announcement's size below the discovery prefix."""
    settings = config.mqtt
    payload = discovery_payload(
        topics,
        version=VERSION,
        telemetry_s=settings.telemetry_s,
        sensitivity=True,  # most models have it
        corrections=config.personal.enabled,
        name=config.name,
        words=language.chosen(config.language),
    )
    size = len(payload)
    enough = 1000 * (size // 1000 + 2)
    limit = f"raise the broker's limit (mosquitto: max_packet_size) to {enough} bytes"
    try:
        back, refused = link.round_trip([(topic, payload)], ECHO_S)
    except LinkError as error:
        yield warn(
            "discovery", f"the broker disconnects after a message of {size} bytes: {error.message}",
            limit,
        )  # fmt: skip
        return
    refusal = refused.get(topic)
    if refusal is not None and refusal.size is not None:
        yield warn(
            "discovery",
            f"the announcement to Home Assistant {refusal.reason}: it is shortened, and some "
            "entities will be missing",
            limit,
        )
    elif topic not in back:
        rules = "is dropped by the broker's access rules" if refusal is None else refusal.reason
        yield warn(
            "discovery",
            f"what is announced to Home Assistant {rules}",
            f"let this user read and write {topic.removesuffix('/check')}/#, or set "
            "mqtt.discovery: false",
        )
    else:
        yield ok("discovery", f"an announcement of {size} bytes came back")


def _problem(telemetry: bytes) -> str:
    """The problem a node reports in its telemetry; empty if there is none."""
    try:
        trouble = msgspec.json.decode(telemetry, type=_Telemetry).trouble or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "".join(sign if sign.isprintable() else " " for sign in trouble[:_PROBLEM_MAX])


class _Telemetry(msgspec.Struct):
    trouble: str | None = None


def _others(
    config: Config, link: Link, topics: Topics, *, running_here: bool
) -> Iterator[CheckResult]:
    """What the broker has retained for a node of this name."""
    retained = _retained(link)
    if retained.get(topics.status) == b"online":
        if running_here and (trouble := _problem(retained.get(topics.telemetry, b""))):
            yield warn(
                "node",
                f"{topics.node} is online, from this machine, and reports: {trouble}",
                "`journalctl -u serd -e` shows its log",
            )
        elif running_here:
            yield ok("node", f"{topics.node} is online, from this machine")
        else:
            yield fail(
                "node",
                f"another serd is online as {topics.node}, and not on this machine",
                "give each its own name with the key node: two of the same name disconnect each "
                "other",
                configured=True,
            )
    elif running_here:
        yield warn(
            "node",
            f"serd runs on this machine, but {topics.node} is not online at this broker",
            "does it run with another configuration (node, mqtt.host, mqtt.base_topic)? "
            "`journalctl -u serd -e` shows its log",
        )
    else:
        yield skip("node", f"{topics.node} is not running")
    if retained.get(topics.mute) == b"ON":
        yield warn(
            "mute",
            f"{topics.node} is muted: its microphone is closed",
            "to open it, switch Mute off in Home Assistant, or: "
            f"{publish_command(config.mqtt, topics.mute_set, 'OFF')}",
        )
    elif _microphone(retained, topics) == "quiet":
        yield warn(
            "microphone",
            f"{topics.node} is in quiet hours: its microphone is closed",
            "wait until they end, or change quiet_hours on that machine",
        )
    elif _microphone(retained, topics) == "missing":
        yield warn(
            "microphone",
            f"{topics.node} is waiting for its microphone",
            "is it plugged in? `serd devices` on that machine lists the microphones",
        )


def publish_command(mqtt: MqttConfig, topic: str, payload: str) -> str:
    """A `mosquitto_pub` command for the configured broker, ready to paste, without secrets."""
    access = Access(mqtt)
    words = ["mosquitto_pub", "-h", access.host, "-p", str(access.port)]
    if access.username is not None:
        words += ["-u", access.username]
    if mqtt.tls.cert is not None and mqtt.tls.key is not None:
        words += ["--cert", mqtt.tls.cert, "--key", mqtt.tls.key]
    if access.tls:
        words += ["--cafile", mqtt.tls.ca] if mqtt.tls.ca else ["--tls-use-os-certs"]
    command = shlex.join(words)
    if access.username is not None:
        file = mqtt.password_file
        command += f' -P "$(cat {shlex.quote(file)})"' if file is not None else " -P PASSWORD"
    return f"{command} -t {shlex.quote(topic)} -m {payload}"
