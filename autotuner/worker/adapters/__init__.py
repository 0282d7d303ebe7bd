"""Low-rank changes of a model's weights (LoRA, arXiv 2106.09685), in PEFT's file layout."""
