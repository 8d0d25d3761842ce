"""What pages are made of: numbers in words, committed tables, and when they were measured."""
