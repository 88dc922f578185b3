"""Quality of fits on real data, in nats."""
