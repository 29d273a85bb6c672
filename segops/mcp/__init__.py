"""The server for assistants: what a language model may ask of a running system."""
