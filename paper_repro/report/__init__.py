"""The report of an experiment: its page, its sections, the papers' claims."""
