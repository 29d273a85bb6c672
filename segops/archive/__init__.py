"""Records beyond Kafka's retention: the port by which history is read, and the archive in Parquet files."""
