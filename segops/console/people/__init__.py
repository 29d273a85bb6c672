"""People as the console shows them: what is known of one, who is in a segment, who was sent what."""
