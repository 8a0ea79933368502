"""Launching: how the workers of a study are started, on this machine and on many."""
