"""Is the cause that a replay implies the planted one, and how soon is it told."""
