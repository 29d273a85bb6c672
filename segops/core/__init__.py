"""The pure core: bytes and values in, values out. It reads no clock and does no I/O."""
