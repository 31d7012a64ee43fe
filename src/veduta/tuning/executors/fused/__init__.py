"""The fused executor, which trains the heads of many trials together."""
