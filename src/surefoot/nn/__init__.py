"""Layers and functions that torch lacks: init, norm, flow and regularize."""
