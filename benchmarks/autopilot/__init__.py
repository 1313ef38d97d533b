"""Does an autopilot help? Tasks and methods come in, one table of both goes out."""
