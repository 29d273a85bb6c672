"""The read API: who is in which segments, over HTTP, for browsers and servers."""
