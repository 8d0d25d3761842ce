"""Pages of the documentation that quote results: every number comes from a committed table, none is typed."""
