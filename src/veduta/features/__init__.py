"""Features of frozen backbones: inference engines, int8 quantization, and the cache."""
