"""What was published, so that it can be replayed: streams, positions, and how gaps are healed."""
