"""What the program promises, measured: ``python -m benchmarks.<name> --json``."""
