"""What Surefoot costs: real training loops come in, tables of ratios go out."""
