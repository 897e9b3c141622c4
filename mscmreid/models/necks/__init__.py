"""From feature maps to features."""
