"""MLflow."""

from typing import Any

from jnas._validation import to_text
from jnas.trackers._tracker import Tracker, load_tracker


class MLflow(Tracker):
    """Logs a search as a run of an MLflow experiment; needs mlflow, or mlflow-skinny.

    Where runs go is MLflow's own setting: `mlflow.set_tracking_uri`, or MLFLOW_TRACKING_URI.
    """

    def __init__(self, experiment: str = "jnas"):
        super().__init__()
        self._experiment = to_text("experiment", experiment)
        self._mlflow = load_tracker("mlflow", "mlflow-skinny")
        self._is_started = False

    def start(self, settings: dict[str, Any]) -> None:
        self._mlflow.set_experiment(self._experiment)
        self._mlflow.start_run()
        self._is_started = True
        self._mlflow.log_params({name: value for name, value in settings.items() if value is not None})

    def log(self, values: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics(values, step=step)

    def finish(self, outcome: dict[str, Any]) -> None:
        self._mlflow.log_metrics({name: value for name, value in outcome.items() if not isinstance(value, str)})
        self._mlflow.set_tags({name: value for name, value in outcome.items() if isinstance(value, str)})

    def close(self) -> None:
        if self._is_started:
            self._mlflow.end_run()
