"""What arrived: the newest value of each input, with its age."""
