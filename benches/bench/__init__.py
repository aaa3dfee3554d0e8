"""The parts of the benchmark; `benches/run` puts them together."""
