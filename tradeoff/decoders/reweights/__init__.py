"""Watermarks that reweight the law by a list of the key, a permutation or a uniform of the position."""
