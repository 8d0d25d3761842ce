"""Which versions of other packages this one is run with: the lock, its reading, and the canary."""
