"""Networks: tensors in, tensors out; no noise law, prompt, file or flag."""
