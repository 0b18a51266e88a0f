"""What `maya-transcribe` is made of: inputs, opening, batches, writers, resume, style and int8."""
