"""Where readings go beside the record: TensorBoard, MLflow, W&B, or your own."""
