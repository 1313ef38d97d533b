"""A view that redraws in place, beside whatever else is written to a terminal."""
