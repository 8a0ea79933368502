"""What people read: progress, tables, figures. Never imports torch."""
