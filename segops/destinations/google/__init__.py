"""Google: members of Customer Match lists, by the Data Manager API."""
