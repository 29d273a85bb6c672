"""segops: the Kafka-native engine for real-time customer segmentation."""

__version__ = "0.1.0"
