"""What the end-to-end tests are made of: processes, brokers, clients, notifications, metrics."""
