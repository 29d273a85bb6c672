"""HubSpot: contacts, their properties, and static lists."""
