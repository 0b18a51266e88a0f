"""The main job on an embedded default: speech is synthesised, indexed, learnt, transcribed and scored.

Every step is a command of one of the packages, printed as a user would type it; this package only runs them
in order, keeps what is done, and lays the scores on one page.
"""
