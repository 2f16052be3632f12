"""Room of MQTT: what leaves the house, what comes in, and the small broker for newcomers."""
