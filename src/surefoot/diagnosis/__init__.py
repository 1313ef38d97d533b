"""Causes: findings come in, ranked diagnoses go out."""
