"""Text in, segments, masks and token ids out; nothing here runs a model."""
