"""What commands that generate share."""
