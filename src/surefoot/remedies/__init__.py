"""Remedies: a cause and its evidence come in, prescriptions as data go out."""
