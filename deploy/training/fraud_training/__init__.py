"""Trains the platform's fraud models: labelled features in, one ONNX file with a model card out."""

# onnxruntime's threads and LightGBM's are set per call; everything else stays on one, so that sums are
# taken in one order and the same input gives the same bytes.
