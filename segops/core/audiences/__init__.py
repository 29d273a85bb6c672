"""Audiences: who is reached through a channel, the rule that they compile to, and their approval.

An audience compiles to an ordinary definition, so that the engine keeps its reach exact. Nothing here reads a
clock or a topic.
"""
