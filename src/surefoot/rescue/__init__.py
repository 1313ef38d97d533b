"""A run that failed comes in, one with the verified remedy goes out."""
