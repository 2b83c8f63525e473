"""What `nosce export` writes: a trained model, its texts and questions, in the forms that other tools open."""
