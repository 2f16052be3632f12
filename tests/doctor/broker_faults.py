"""Faults of the broker, added to the table of :mod:`tests.doctor.planting`."""

from __future__ import annotations

import socket

from serd.config import MqttConfig
from serd.mqtt.access import Access
from serd.mqtt.link import Link
from tests.doctor.planting import Garden, fault


@fault("broker name", "fail", "no-broker.invalid", "check the spelling of mqtt.host", 69)
def a_name_that_nobody_has(garden: Garden) -> None:
    garden.mqtt["host"] = "no-broker.invalid"


@fault("broker TCP", "fail", "connection refused", "systemctl status mosquitto", 69)
def a_closed_port(garden: Garden) -> None:
    broker = garden.broker()
    broker.kill()


@fault("broker login", "fail", "does not speak MQTT", "is mqtt.port right?", 69)
def a_port_of_something_else(garden: Garden) -> None:
    server = garden.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    garden.mqtt["port"] = server.getsockname()[1]


@fault("broker TLS", "fail", "certificate has expired", "renew the broker's certificate", 69)
def a_certificate_that_has_expired(garden: Garden) -> None:
    garden.broker(tls=garden.certificates, expired=True)
    garden.mqtt["tls"] = {"ca": str(garden.certificates.ca)}


@fault("broker TLS", "warn", "expires in", "renew it", 0)
def a_certificate_that_expires_soon(garden: Garden) -> None:
    garden.broker(tls=garden.certificates)
    garden.mqtt["tls"] = {"ca": str(garden.certificates.ca)}


@fault("broker TLS", "fail", "certificate is not accepted", "set mqtt.tls.ca", 69)
def an_authority_that_is_unknown(garden: Garden) -> None:
    garden.broker(tls=garden.certificates)
    garden.mqtt["tls"] = {"ca": str(garden.certificates.stranger_ca)}


@fault(
    "broker TLS", "fail", "certificate is not accepted", "issued for another name than 127.1", 69
)
def a_certificate_for_another_name(garden: Garden) -> None:
    garden.broker(tls=garden.certificates)
    garden.mqtt.update(host="127.1", tls={"ca": str(garden.certificates.ca)})


@fault("broker TLS", "fail", "127.0.0.1", "port 8883", 69)
def tls_to_a_port_without_it(garden: Garden) -> None:
    garden.broker()
    garden.mqtt["tls"] = {"enabled": True}


@fault("broker login", "fail", "127.0.0.1", "mqtt.tls", 69)
def no_tls_to_a_port_with_it(garden: Garden) -> None:
    garden.broker(tls=garden.certificates)


@fault("broker login", "fail", "client certificate", "mqtt.tls.cert", 69)
def no_client_certificate(garden: Garden) -> None:
    garden.broker(tls=garden.certificates, client_certificates=True)
    garden.mqtt["tls"] = {"ca": str(garden.certificates.ca)}


@fault("secrets", "fail", "holds no certificate in PEM format", "correct the file", 78)
def an_authority_that_is_no_certificate(garden: Garden) -> None:
    garden.mqtt["tls"] = {"ca": str(garden.file("ca.pem", "hello\n"))}


@fault("broker login", "fail", "wants a user name", "set mqtt.username", 69)
def no_login(garden: Garden) -> None:
    garden.broker(password="hush")


@fault("broker login", "fail", "wrong user name or password for 'serd'", "mosquitto_passwd", 69)
def a_wrong_password(garden: Garden) -> None:
    garden.broker(password="hush")
    garden.mqtt.update(username="serd", password="quiet")


@fault("broker publish", "fail", "access rules", "topic readwrite serd/den/#", 69)
def access_rules_against_the_node(garden: Garden) -> None:
    acl = garden.file("acl", "topic readwrite serd/attic/#\ntopic readwrite homeassistant/#\n")
    garden.broker(extra=(f"acl_file {acl}",))


@fault("discovery", "warn", "announced to Home Assistant", "mqtt.discovery: false", 0)
def access_rules_against_discovery(garden: Garden) -> None:
    acl = garden.file("acl", "topic readwrite serd/#\n")
    garden.broker(extra=(f"acl_file {acl}",))


@fault("broker publish", "fail", "serd/den/emotion is forbidden", "topic readwrite serd/den/#", 69)
def access_rules_against_one_topic(garden: Garden) -> None:
    acl = garden.file("acl", "topic readwrite #\ntopic deny serd/den/emotion\n")
    garden.broker(extra=(f"acl_file {acl}",))


@fault("discovery", "warn", "takes 2048 at most", "max_packet_size", 0)
def a_limit_below_the_announcement(garden: Garden) -> None:
    garden.broker(extra=("max_packet_size 2048",))


@fault("broker limits", "warn", "keeps no retained messages", "allow it on the broker", 0)
def no_retained_messages(garden: Garden) -> None:
    garden.broker(extra=("retain_available false",))


@fault("broker limits", "warn", "QoS 0 only", "allow it on the broker", 0)
def qos_0_only(garden: Garden) -> None:
    garden.broker(extra=("max_qos 0",))


@fault("broker login", "fail", "max_connections", "allow more connections", 69)
def all_connections_taken(garden: Garden) -> None:
    broker = garden.broker(extra=("max_connections 1",))
    link = Link(Access(MqttConfig(port=broker.port)), "the-only-one")
    link.open()
    garden.stack.callback(link.close)


@fault("node", "fail", "another serd is online as den", "its own name", 78)
def another_daemon_of_the_same_name(garden: Garden) -> None:
    garden.retain(garden.broker(), "serd/den/status", b"online")


@fault("mute", "warn", "den is muted", "serd/den/mute/set -m OFF", 0)
def a_muted_node(garden: Garden) -> None:
    garden.retain(garden.broker(), "serd/den/mute", b"ON")


@fault("broker", "fail", "is taken", "set mqtt.host: localhost", 78)
def a_broker_where_serd_would_bring_its_own(garden: Garden) -> None:
    garden.broker()
    garden.mqtt["host"] = "embedded"
