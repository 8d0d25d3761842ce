"""Detectors of the watermarks of `tradeoff.decoders.reweights`."""
