"""What an operator watches: counts for Prometheus, and spans for OpenTelemetry; each in a module of its own."""
