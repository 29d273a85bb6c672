"""Who may use the console: sign-in, sessions, and what requests must prove."""
