"""The read model of the console: what the topics and the workers say, folded in memory."""
