"""Output while a command runs and after it: console, leaderboard, tables, TensorBoard, text."""
