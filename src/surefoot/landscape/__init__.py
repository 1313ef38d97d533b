"""Slices of a loss: a model, data and directions come in, surfaces and pictures go out."""
