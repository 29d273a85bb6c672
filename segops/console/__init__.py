"""The console: what people see of segops, in a browser and as JSON."""
