"""What the black box costs, and how fast an incident is on the disk."""
