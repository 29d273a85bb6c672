"""A webhook of one's own: Standard Webhooks."""
