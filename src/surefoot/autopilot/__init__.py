"""Acting on a live run: Changes come in, Events and an undo go out."""
