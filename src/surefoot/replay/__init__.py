"""The same moments again: an incident comes in, what would have prevented it out."""
