"""What is wrong with a request of continual learning, and what to do."""


class ContinualError(ValueError):
    """An input that does not fit: what came, what was expected, what to do."""
