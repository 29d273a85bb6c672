"""Memberships in the forms that other systems take, in topics of their own."""
