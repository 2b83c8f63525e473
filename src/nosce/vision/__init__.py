"""Small networks that see: what is measured sharply and smoothly of the same outputs, without any language."""
