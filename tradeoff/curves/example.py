"""The paper's numerical example (appendix C.1): ten tokens, a peaked draft and a flatter target."""

import numpy as np

__all__ = ["PAPER_P", "PAPER_Q"]

#: Target distribution P.
PAPER_P = np.array([0.1, 0.13, 0.155, 0.115, 0.235, 0.065, 0.055, 0.05, 0.06, 0.035])
#: Draft distribution Q.
PAPER_Q = np.array([0.4, 0.10, 0.12, 0.11, 0.08, 0.06, 0.05, 0.035, 0.025, 0.02])
PAPER_P.flags.writeable = PAPER_Q.flags.writeable = False
