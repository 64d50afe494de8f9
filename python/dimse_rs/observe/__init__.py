"""What a program sees of its associations: events, logs, the audit trail and metrics."""
