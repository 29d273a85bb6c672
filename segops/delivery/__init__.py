"""The delivery of audiences: ``segops activate``, apart from the destinations themselves."""
