"""Models come in, initialised, audited, grown, frozen or rebuilt ones go out."""
