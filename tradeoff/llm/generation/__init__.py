"""The batched engine: draft, verify, go on."""
