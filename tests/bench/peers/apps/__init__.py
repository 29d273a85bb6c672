"""The programs of the peers. Each runs in its own environment; the benchmark does not import them."""
