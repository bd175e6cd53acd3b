"""Ready configuration files: train/, robots/, demo.yaml. Each is a --config."""
