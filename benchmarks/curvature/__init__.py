"""Curvature and landscapes beside other tools, at the same models and batches."""
