"""What the commands draw. Doors: `style` for pictures, `progress` for the bar of long steps."""
