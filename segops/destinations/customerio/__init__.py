"""Customer.io: people of manual segments, and events."""
