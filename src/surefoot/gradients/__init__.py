"""Gradients come in, clipped ones, ratios and conflicts go out."""
