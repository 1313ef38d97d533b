"""Other tools at the runs of the zoo: scenarios come in, a table goes out."""
