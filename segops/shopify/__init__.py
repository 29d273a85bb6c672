"""Shopify's webhooks: their signature, and what becomes of their payloads."""
