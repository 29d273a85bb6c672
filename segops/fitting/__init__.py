"""Scoring models from past orders: reading them, fitting, and what the fit is worth."""
