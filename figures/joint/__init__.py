"""What the joint race and the joint tournament leave of the trade-off."""
