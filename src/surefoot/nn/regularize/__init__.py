"""Penalties, dropout and noise, orthogonality: weights and activations, held in."""
