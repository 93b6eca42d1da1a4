"""The web app over a finished run. It reads tables only; a live model is handed in behind `explorer.service`."""
