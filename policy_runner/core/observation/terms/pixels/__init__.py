"""What happens to an image's pixels before they are scaled.

`resizing` has the filters of Pillow, OpenCV and torch, `depth` the rules of depth images.
"""
