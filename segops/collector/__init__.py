"""The collector: an HTTP endpoint for Segment's and RudderStack's SDKs. 200 means that Kafka has it."""
