"""Tests of the destinations, and strict stand-ins of the services."""
