"""Live sizes and trends of segments, folded from the topics that workers publish."""
