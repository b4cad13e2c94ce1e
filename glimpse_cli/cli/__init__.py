"""The command line: parse, call, report. Nothing is computed here."""
