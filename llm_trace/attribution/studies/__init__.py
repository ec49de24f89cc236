"""What is learnt from many attributions, or from one by asking the model again."""
