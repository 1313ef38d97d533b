"""Kept in case: a live run comes in, its last moments go out as an incident file."""
