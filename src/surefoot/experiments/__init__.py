"""Controlled comparisons: a script and changes come in, verdicts go out."""
