"""Models and results measured against a truth: films, folders of frames, the val scenes of a corpus."""
