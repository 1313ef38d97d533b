"""Modules and activations come in, how signals and gradients pass them goes out."""
