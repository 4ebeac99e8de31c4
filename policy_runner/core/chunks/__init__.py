"""Play the action chunks of a slow policy by the clock.

`player` is the entry. The inference lane offers chunks, the control thread asks for the action of
now. `rules` has the settings. Policies without chunks import nothing of this folder.
"""
