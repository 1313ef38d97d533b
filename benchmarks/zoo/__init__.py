"""The zoo's full benchmark: scenarios come in, tables go out."""
