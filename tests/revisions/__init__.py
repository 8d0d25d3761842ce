"""The present code against that of another revision."""
