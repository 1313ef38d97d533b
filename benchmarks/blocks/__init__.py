"""Building blocks beside torch's nearest own layer or a reference, at the same work."""
