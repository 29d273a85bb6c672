"""Delivery: from memberships to what each destination is told, apart from how it is sent."""
