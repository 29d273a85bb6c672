"""A channel of Slack, and of chats that take its incoming webhooks: digests for people."""
