"""Tests of the delivery of audiences."""
