"""Destinations: the services and servers that are told about the members of audiences, one folder each."""
