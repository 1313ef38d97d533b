"""Checks for people who add a probe, a signature or a remedy."""
