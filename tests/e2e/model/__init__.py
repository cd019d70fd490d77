"""A small reference model of MQTT for the property-based test: packets, server, clients."""
