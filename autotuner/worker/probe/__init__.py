"""The quality probe: golden answers scored on the live settings. No torch, save in `reference`."""
