"""Networks and heads: what can be trained, where its weights come from, how it is built."""
