"""A zoo of planted faults and healthy twins: a scenario comes in, a score goes out."""
