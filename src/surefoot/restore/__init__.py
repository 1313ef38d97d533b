"""A live model comes in, is worked on, and goes out as it was, bit for bit."""
