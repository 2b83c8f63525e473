"""Emergence: a jump of the ability, or an artefact of the metric (arXiv:2304.15004)?"""
