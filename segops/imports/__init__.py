"""Files as a source: CSV, JSON lines and Parquet become events of the past."""
