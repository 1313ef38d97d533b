"""What is wrong with a request for an analysis of the flow, and what to do."""


class FlowError(ValueError):
    """An input that cannot be analysed: what came, what was expected, what to do."""
