"""Probes: functions from a Moment (the live step) to Readings on the device."""
