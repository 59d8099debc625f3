"""A film's look as files that people take elsewhere: look files and colour tables."""
