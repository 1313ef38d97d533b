"""Checks before a run: a model, a batch and a loss come in, a Report goes out."""
