"""Models that can be opened: token ids in, log-probabilities and gradients out; each is left as it was."""
