"""A trained model as others open it: found in its run, written in their format, with a model card.

The formats belong to maya-encoder and maya-bridge; what is gathered and told of a run belongs here.
"""
