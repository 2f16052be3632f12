"""MQTT: the publisher of a node, followers, commands, and the embedded broker."""
