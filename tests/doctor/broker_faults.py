"""Broker faults, added to the table of :mod:`tests.doctor.faults`."""

from __future__ import annotations

import socket

from serd.config import MqttConfig
from serd.mqtt.access import Access
from serd.mqtt.link import Link
from tests.doctor.faults import Installation, fault
from tests.mqtt.strict_broker import StrictBroker


@fault("broker name", "fail", "no-broker.invalid", "check the spelling of mqtt.host", 69)
def an_unknown_host_name(installation: Installation) -> None:
    installation.mqtt["host"] = "no-broker.invalid"


@fault("broker TCP", "fail", "connection refused", "systemctl status mosquitto", 69)
def a_closed_port(installation: Installation) -> None:
    broker = installation.broker()
    broker.kill()


@fault("broker login", "fail", "does not speak MQTT", "is mqtt.port right?", 69)
def a_port_of_another_service(installation: Installation) -> None:
    server = installation.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    installation.mqtt["port"] = server.getsockname()[1]


@fault("broker TLS", "fail", "certificate has expired", "renew the broker's certificate", 69)
def an_expired_certificate(installation: Installation) -> None:
    installation.broker(tls=installation.certificates, expired=True)
    installation.mqtt["tls"] = {"ca": str(installation.certificates.ca)}


@fault("broker TLS", "warn", "expires in", "renew it", 0)
def a_certificate_that_expires_soon(installation: Installation) -> None:
    installation.broker(tls=installation.certificates)
    installation.mqtt["tls"] = {"ca": str(installation.certificates.ca)}


@fault("broker TLS", "fail", "certificate is not accepted", "set mqtt.tls.ca", 69)
def an_unknown_certificate_authority(installation: Installation) -> None:
    installation.broker(tls=installation.certificates)
    installation.mqtt["tls"] = {"ca": str(installation.certificates.stranger_ca)}


@fault(
    "broker TLS", "fail", "certificate is not accepted", "issued for another name than 127.1", 69
)
def a_certificate_for_another_name(installation: Installation) -> None:
    installation.broker(tls=installation.certificates)
    installation.mqtt.update(host="127.1", tls={"ca": str(installation.certificates.ca)})


@fault("broker TLS", "fail", "127.0.0.1", "port 8883", 69)
def tls_to_a_plain_port(installation: Installation) -> None:
    installation.broker()
    installation.mqtt["tls"] = {"enabled": True}


@fault("broker login", "fail", "127.0.0.1", "mqtt.tls", 69)
def no_tls_to_a_tls_port(installation: Installation) -> None:
    installation.broker(tls=installation.certificates)


@fault("broker login", "fail", "client certificate", "mqtt.tls.cert", 69)
def no_client_certificate(installation: Installation) -> None:
    installation.broker(tls=installation.certificates, client_certificates=True)
    installation.mqtt["tls"] = {"ca": str(installation.certificates.ca)}


@fault("secrets", "fail", "holds no certificate in PEM format", "correct the file", 78)
def an_invalid_ca_file(installation: Installation) -> None:
    installation.mqtt["tls"] = {"ca": str(installation.file("ca.pem", "hello\n"))}


@fault("broker login", "fail", "wants a user name", "set mqtt.username", 69)
def no_login(installation: Installation) -> None:
    installation.broker(password="hush")


@fault("broker login", "fail", "wrong user name or password for 'serd'", "mosquitto_passwd", 69)
def a_wrong_password(installation: Installation) -> None:
    installation.broker(password="hush")
    installation.mqtt.update(username="serd", password="quiet")


@fault("broker publish", "fail", "access rules", "topic readwrite serd/den/#", 69)
def access_rules_that_block_the_node(installation: Installation) -> None:
    acl = installation.file(
        "acl", "topic readwrite serd/attic/#\ntopic readwrite homeassistant/#\n"
    )
    installation.broker(extra=(f"acl_file {acl}",))


@fault("discovery", "warn", "announced to Home Assistant", "mqtt.discovery: false", 0)
def access_rules_that_block_discovery(installation: Installation) -> None:
    acl = installation.file("acl", "topic readwrite serd/#\n")
    installation.broker(extra=(f"acl_file {acl}",))


@fault("broker publish", "fail", "serd/den/emotion is forbidden", "topic readwrite serd/den/#", 69)
def access_rules_that_block_one_topic(installation: Installation) -> None:
    acl = installation.file("acl", "topic readwrite #\ntopic deny serd/den/emotion\n")
    installation.broker(extra=(f"acl_file {acl}",))


@fault("broker commands", "fail", "subscribe to serd/den/mute/set:", "read serd/den/#", 69)
def a_refused_subscription(installation: Installation) -> None:
    broker = StrictBroker(unreadable=("serd/den/mute/set",))
    installation.mqtt["port"] = installation.stack.enter_context(broker).port


@fault("discovery", "warn", "takes 2048 at most", "max_packet_size", 0)
def a_packet_limit_below_the_discovery_message(installation: Installation) -> None:
    installation.broker(extra=("max_packet_size 2048",))


@fault("discovery", "warn", "takes 7000 at most", "to 9000 bytes", 0)
def a_packet_limit_below_the_whole_discovery_message(installation: Installation) -> None:
    """With everything that the daemon announces, corrections and sensitivity among them."""
    installation.broker(extra=("max_packet_size 7000",))


@fault("broker limits", "warn", "keeps no retained messages", "allow it on the broker", 0)
def no_retained_messages(installation: Installation) -> None:
    installation.broker(extra=("retain_available false",))


@fault("broker limits", "warn", "QoS 0 only", "allow it on the broker", 0)
def qos_0_only(installation: Installation) -> None:
    installation.broker(extra=("max_qos 0",))


@fault("broker login", "fail", "max_connections", "allow more connections", 69)
def all_connections_taken(installation: Installation) -> None:
    broker = installation.broker(extra=("max_connections 1",))
    link = Link(Access(MqttConfig(port=broker.port)), "the-only-one")
    link.open()
    installation.stack.callback(link.close)


@fault("node", "fail", "another serd is online as den", "its own name", 78)
def another_daemon_with_the_same_name(installation: Installation) -> None:
    installation.retain(installation.broker(), "serd/den/status", b"online")


@fault("mute", "warn", "den is muted", "serd/den/mute/set -m OFF", 0)
def a_muted_node(installation: Installation) -> None:
    installation.retain(installation.broker(), "serd/den/mute", b"ON")


@fault("broker", "fail", "is taken", "set mqtt.host: localhost", 78)
def a_taken_port_for_the_embedded_broker(installation: Installation) -> None:
    installation.broker()
    installation.mqtt["host"] = "embedded"
