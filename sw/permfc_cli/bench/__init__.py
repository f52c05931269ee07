"""The benchmark: peers, networks, and the table they fill."""
