"""Curvature: a model, a batch and a loss come in, estimates with errors go out."""
