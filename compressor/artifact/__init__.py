"""Model to file and back: sparse safetensors."""
