"""The demo: eighteen months of a shop in a minute, on a real broker and a real worker, verified."""
