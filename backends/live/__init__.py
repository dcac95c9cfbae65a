"""Both sides of a plan asked at once, before the window: what will not fit on target, found while there is time. Nothing of either side
is changed but for one small object a store, which is taken away again."""
