"""A running appliance: the host that wires captures, engine, fallback and the box together."""
