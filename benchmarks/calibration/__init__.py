"""Healthy and faulty training runs: a seed comes in, something to train goes out."""
