"""How often a rescue repairs the zoo's faults: scenarios come in, shares go out."""
