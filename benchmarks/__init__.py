"""Programs that print a promise, what is wanted and what was measured."""
