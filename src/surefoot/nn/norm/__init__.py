"""Normalisation that torch lacks, its statistics and their errors."""
