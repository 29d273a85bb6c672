"""Models of what follows: decisions taken from the stream, a regression on them, and what it is worth."""
