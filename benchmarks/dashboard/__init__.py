"""What looking at a run costs: long records come in, times and bytes go out."""
