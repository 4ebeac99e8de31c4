"""What the node hears: polled by the control thread."""
