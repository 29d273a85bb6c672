"""Delivery: from memberships to the messages for each destination, apart from how they are sent."""
