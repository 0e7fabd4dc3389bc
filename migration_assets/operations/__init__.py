"""What a person starts: run, status, validate, reset, doctor; callable from Python too."""
