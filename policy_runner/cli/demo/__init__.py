"""`policy-runner demo`. Ground: `children`, `view`. Door: `command`."""
