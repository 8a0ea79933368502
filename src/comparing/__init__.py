"""A fair comparison: its protocol, its statistics, what can withhold its verdict."""
