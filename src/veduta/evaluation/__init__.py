"""The truth about a model, from the scores that it gave: arrays in, figures and tables out."""
