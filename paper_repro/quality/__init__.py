"""What texts lose beyond LOGPPL, if anything: repetition, diversity, answers that are right."""
