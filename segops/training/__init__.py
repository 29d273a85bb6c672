"""The trainer: it reads the stream as a rule does, learns what follows, and measures models."""
