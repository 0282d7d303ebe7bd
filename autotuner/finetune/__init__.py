"""Fine-tuning on new examples: intake and store, training and evaluation, promotion."""
