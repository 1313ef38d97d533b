"""Stabilisers of one kind of task each."""
