"""What is wrong with a request for a start or a rebuilding, and what to do."""


class InitError(ValueError):
    """What came, what was expected, and what to do; the model is as it was."""


class GrowthError(InitError):
    """A growth that would change what the model computes, or that cannot be done."""
