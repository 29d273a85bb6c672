"""Klaviyo as a source: its profiles with consent, and its events, as records of the events topic.

``rates`` and ``client`` send requests within Klaviyo's limits, ``pages`` reads the answers, ``mapping`` makes
events of them, ``journal`` makes them durable together with the position, ``pull`` puts these together, and
``service`` runs it through outages of Kafka.
"""
