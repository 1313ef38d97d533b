"""Symptoms: series of a record come in, findings go out. One symptom a file."""
