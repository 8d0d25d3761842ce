"""What theory predicts at the very positions of generated texts, beside what was measured there."""
