"""The catalogue: which events, properties and traits occur, counted without personal data."""
