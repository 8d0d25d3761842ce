"""What the statements share: rows and verdicts, settings, laws of kernels."""
