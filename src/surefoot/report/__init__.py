"""Records and diagnoses come in, pictures, texts and pages go out."""
