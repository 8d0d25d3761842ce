"""Language models: the built-in and user-supplied draft/target pairs, and text to run them on.

Everything here needs the extra `llm` (`pip install "tradeoff[llm]"`); import the modules by name,
so that the theory never pays for importing PyTorch.
"""
