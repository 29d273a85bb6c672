"""Meta: members of Custom Audiences, by hashed identifiers."""
