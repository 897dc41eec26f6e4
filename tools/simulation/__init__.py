"""A simulated AWS and gateway on simulated time, for the real handlers: what benchmarks and tests play."""
