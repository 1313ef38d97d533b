"""Slices of a loss: a model, data and directions come in, surfaces go out."""
