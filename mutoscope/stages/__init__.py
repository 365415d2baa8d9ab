"""One step of a cascade: the loss and the sampler around one denoiser."""
