"""The embedded server: TensorFlow Serving's gRPC protocol inside Python."""
