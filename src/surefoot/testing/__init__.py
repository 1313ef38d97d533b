"""Checks for people who add a probe, a signature, a remedy or a knob."""
