"""What happens to an image's pixels before they are scaled, and the cells of a map.

`resizing` has the filters of Pillow, OpenCV and torch, `depth` the rules of depth images,
`occupancy_grid` the checks of a map.
"""
