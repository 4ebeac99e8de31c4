"""What the pictures of the commands share. Door: `style`."""
