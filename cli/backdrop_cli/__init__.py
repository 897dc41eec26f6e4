"""The command `backdrop`: submit, watch, quote, resume, look, from the machine of whoever uploads or operates."""
