"""The ensemble behind `Predictor`, as pure functions of arrays that can be jitted and vmapped."""
